"""Miniatures of Grounding DINO and OWLv2 of the real classes, with tokenizers of their own and random weights.

They drive the zero-shot detectors' own path (text, batches, post-processing) where no checkpoint can be fetched.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tokenizers import pre_tokenizers
from transformers import (
    BertConfig,
    BertTokenizer,
    CLIPTokenizer,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    Owlv2Config,
    Owlv2ForObjectDetection,
    Owlv2ImageProcessor,
    Owlv2Processor,
    SwinConfig,
)

BACKBONE: Any = {"out_features": ["stage2", "stage3"]}  # of Swin's stages, what the encoder sees
# Where Grounding DINO's code expects its delimiters: the places of these tokens in BERT's English vocabulary.
DELIMITERS = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]", 1012: ".", 1029: "?"}


def bert_tokenizer(texts: Iterable[str], length: int = 256) -> Any:
    """A WordPiece tokenizer of the words and characters of `texts`, with BERT's special tokens in BERT's places."""
    words = sorted({part for text in texts for word in text.lower().split() for part in (word, *word)} - {".", "?"})
    words += [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    vocabulary = dict(DELIMITERS)
    free = (i for i in range(10**6) if i not in DELIMITERS)
    for word in words:
        vocabulary[next(free)] = word
    size = max(vocabulary) + 1
    table = {vocabulary.get(i, f"[unused{i}]"): i for i in range(size)}
    return BertTokenizer(vocab=table, model_max_length=length)


def clip_tokenizer(texts: Iterable[str], length: int = 16) -> Any:
    """A byte-level BPE tokenizer of CLIP's class, whose merges build the words of `texts` from their left."""
    cut: Any = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges: dict[Any, None] = {}
    for word in sorted({word for text in texts for word, _ in cut.pre_tokenize_str(text.lower())}):
        *letters, last = word
        for end in range(1, len(letters) + 1):
            merges["".join(letters[:end]), letters[end] if end < len(letters) else f"{last}</w>"] = None
    tokens = ["!", *alphabet, *(f"{byte}</w>" for byte in alphabet), *map("".join, merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocabulary, merges=list(merges), pad_token="!", model_max_length=length)


def grounding_dino(
    texts: Iterable[str], size: int = 64, queries: int = 12, length: int = 32, width: int = 32, swin: int = 16,
    layers: int = 1,
) -> tuple[Any, Any]:  # fmt: skip
    """An untrained GroundingDinoForObjectDetection and its processor; shorter sides become `size` pixels.

    The encoder has `layers` of `width`, as decoder and text are; Swin's patches are `swin` wide.
    """
    tokenizer = bert_tokenizer(texts, length)
    processor = GroundingDinoProcessor(
        GroundingDinoImageProcessor(size={"shortest_edge": size, "longest_edge": 2 * size}), tokenizer
    )
    config = GroundingDinoConfig(
        backbone_config=SwinConfig(
            image_size=size, embed_dim=swin, depths=[1, 1, 1], num_heads=[2, 2, 2], window_size=4, drop_path_rate=0.0,
            **BACKBONE,
        ),
        text_config=BertConfig(
            vocab_size=len(tokenizer), hidden_size=width, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=2 * width, max_position_embeddings=length,
        ),
        num_queries=queries, d_model=width, encoder_layers=layers, decoder_layers=2, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=2 * width, decoder_ffn_dim=2 * width, num_feature_levels=3,
        max_text_len=length, fusion_droppath=0.0,
    )  # fmt: skip
    return GroundingDinoForObjectDetection(config).eval(), processor


def owlv2(
    texts: Iterable[str], size: int = 64, patch: int = 16, width: int = 32, layers: int = 1, length: int = 16
) -> tuple[Any, Any]:
    """An untrained Owlv2ForObjectDetection and its processor; pictures become `size` × `size` pixels, and their tower
    has `layers` of `width`.
    """
    tokenizer = clip_tokenizer(texts, length)
    processor = Owlv2Processor(Owlv2ImageProcessor(size={"height": size, "width": size}), tokenizer)
    config = Owlv2Config(
        text_config={
            "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1,
            "num_attention_heads": 2, "max_position_embeddings": length, "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config={
            "hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": layers,
            "num_attention_heads": 2, "image_size": size, "patch_size": patch,
        },
        projection_dim=32,
    )  # fmt: skip
    return Owlv2ForObjectDetection(config).eval(), processor


def save(made: tuple[Any, Any], folder: Path) -> Path:
    """Model and processor as a published folder."""
    for part in made:
        part.save_pretrained(folder)
    return folder
