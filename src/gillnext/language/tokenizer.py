"""A byte-level BPE tokenizer of Qwen2's class, trained on a few thousand captions.

Merges are learned inside single characters only: frequent characters are one token and every other one falls back to
its bytes, so that a phrase never seen in training is cut like any other. The result is a `Qwen2Tokenizer` that
`AutoTokenizer.from_pretrained(folder)` loads.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerBase, Qwen2Tokenizer

END = "<|endoftext|>"


def train_tokenizer(
    texts: Iterable[str], vocabulary: int = 1500, special: Sequence[str] = (), minimum: int = 2
) -> Qwen2Tokenizer:
    """A tokenizer of at most `vocabulary` tokens from `texts`.

    `special` are strings that always stay whole; `minimum` is how often a merge has to occur. Pads on the left with
    END, which also ends a text.
    """
    raw = Tokenizer(models.BPE())
    raw.normalizer = normalizers.NFC()
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex("."), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(special) - 1,
        min_frequency=minimum,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    raw.train_from_iterator(texts, trainer)
    learned = json.loads(raw.to_str())["model"]
    merges: Any = [tuple(pair) for pair in learned["merges"]]
    tokenizer = Qwen2Tokenizer(vocab=learned["vocab"], merges=merges, padding_side="left")
    tokenizer.add_tokens([AddedToken(s, special=False, normalized=False) for s in special])
    return tokenizer


def token_bytes(tokenizer: PreTrainedTokenizerBase) -> list[bytes]:
    """The bytes that each token id stands for; empty for END and other special tokens."""
    decode = {c: b for b, c in byte_characters().items()}
    special, added = set(tokenizer.all_special_ids), tokenizer.get_added_vocab()
    table = [b""] * len(tokenizer)
    for token, i in tokenizer.get_vocab().items():
        if i in special:
            continue
        table[i] = token.encode() if token in added else bytes(decode[c] for c in token)
    return table


def byte_characters() -> dict[int, str]:
    """GPT-2's printable stand-in for each byte: printable Latin-1 as itself, the rest from U+0100 on."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    other = [b for b in range(256) if b not in set(plain)]
    return {b: chr(b) for b in plain} | {b: chr(256 + i) for i, b in enumerate(other)}


def without_markers(text: str, tokenizer: PreTrainedTokenizerBase) -> str:
    """`text` with the tokenizer's added tokens broken by a space: what the web writes is words, no part of a prompt."""
    if "<" in text or "[" in text:  # as markers do
        for token in sorted(tokenizer.get_added_vocab(), key=len, reverse=True):
            if len(token) > 1:
                text = text.replace(token, f"{token[0]} {token[1:]}")
    return text
