"""The demo tier's text side of Kolors: a small ChatGLM and a sentencepiece tokenizer of our own captions.

Kolors conditions on `hidden_states[-2]` of every position (left-padded) and pools the last position of
`hidden_states[-1]`. `text_train.py` trains both.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import sentencepiece
import torch
from diffusers.pipelines.kolors import ChatGLMModel, ChatGLMTokenizer
from diffusers.pipelines.kolors.text_encoder import ChatGLMConfig
from torch import Tensor, nn

LENGTH = 32  # tokens of a caption in the demo tier (Kolors: 256)
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


def tokenize(tokenizer: ChatGLMTokenizer, captions: Sequence[str], length: int) -> dict[str, Tensor]:
    """Token ids, attention mask and positions, each (N, length), as KolorsPipeline makes them."""
    batch = tokenizer(list(captions), padding="max_length", max_length=length, truncation=True, return_tensors="pt")
    return {k: batch[k] for k in ("input_ids", "attention_mask", "position_ids")}


def encode(encoder: ChatGLMModel, tokens: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """States (N, T, D) and pooled states (N, D) of tokenised captions; differentiable."""
    output = encoder(**tokens, output_hidden_states=True)
    return output.hidden_states[-2].permute(1, 0, 2), output.hidden_states[-1][-1]


@torch.no_grad()
def states(
    tokenizer: ChatGLMTokenizer, encoder: ChatGLMModel, captions: Sequence[str], length: int, batch: int = 128
) -> tuple[Tensor, Tensor]:
    """`encode` without gradients, in batches, on the encoder's device, back on the CPU."""
    device = next(encoder.parameters()).device
    all_states, all_pooled = [], []
    for i in range(0, len(captions), batch):
        tokens = tokenize(tokenizer, captions[i : i + batch], length)
        one_states, one_pooled = encode(encoder, {k: v.to(device) for k, v in tokens.items()})
        all_states.append(one_states.float().cpu())
        all_pooled.append(one_pooled.float().cpu())
    return torch.cat(all_states), torch.cat(all_pooled)


def load(folder: Path) -> tuple[ChatGLMTokenizer, ChatGLMModel]:
    """Tokenizer and frozen encoder, from the subfolders that a KolorsPipeline has."""
    tokenizer = ChatGLMTokenizer.from_pretrained(folder / "tokenizer")
    encoder = ChatGLMModel.from_pretrained(folder / "text_encoder")
    return tokenizer, encoder.eval().requires_grad_(False)
