"""The demo's text side of Kolors, untrained: a small ChatGLM, and a sentencepiece tokenizer of its own captions."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import sentencepiece
from diffusers.pipelines.kolors import ChatGLMModel, ChatGLMTokenizer
from diffusers.pipelines.kolors.text_encoder import ChatGLMConfig
from torch import nn

LENGTH = 32  # tokens of a caption (Kolors: 256)
PIECES = 512
HIDDEN = 96


def train_tokenizer(captions: Sequence[str], folder: Path) -> ChatGLMTokenizer:
    """A byte-fallback BPE of `captions`, written as `folder`/tokenizer.model, Kolors' own file."""
    folder.mkdir(parents=True, exist_ok=True)
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(captions),
        model_writer=model,
        model_type="bpe",
        vocab_size=PIECES,
        byte_fallback=True,
        character_coverage=1.0,
        hard_vocab_limit=False,
        num_threads=1,
        shuffle_input_sentence=False,
        max_sentencepiece_length=4,
        minloglevel=2,
    )
    (folder / "tokenizer.model").write_bytes(model.getvalue())
    return ChatGLMTokenizer(str(folder / "tokenizer.model"), model_max_length=LENGTH)


def build(tokenizer: ChatGLMTokenizer) -> ChatGLMModel:
    """An untrained three-layer ChatGLM of width 96, with GPT-2's initialisation (the class leaves memory unset)."""
    model = ChatGLMModel(
        ChatGLMConfig(
            num_layers=3,
            padded_vocab_size=tokenizer.vocab_size,
            hidden_size=HIDDEN,
            ffn_hidden_size=2 * HIDDEN,
            kv_channels=HIDDEN // 4,
            num_attention_heads=4,
            seq_length=256,
            multi_query_attention=True,
            multi_query_group_num=2,
            add_qkv_bias=True,
            apply_query_key_layer_scaling=False,
            original_rope=True,
        )
    )
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif "layernorm" in name:
            nn.init.ones_(parameter)
        else:
            nn.init.normal_(parameter, std=0.02 if "embedding" not in name else 0.5)
    return model
