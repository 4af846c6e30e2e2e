"""Instructions to the states that a UNet attends to, by the text encoder of its own base: Kolors' ChatGLM, or CLIP.

Letters: N instructions, T tokens, D width of the states, P of the pooled ones.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gillnext.diffusion import chatglm
from gillnext.runtime.errors import UserError

BYTE = re.compile(r"<0x[0-9A-F]{2}>")  # sentencepiece's piece of a character that it does not know
BATCH = 32
KOLORS = 256  # tokens of a caption where the tokenizer names no limit


def is_chatglm(tokenizer: Any) -> bool:
    return hasattr(tokenizer, "get_prefix_tokens")


def length(tokenizer: Any) -> int:
    """Tokens of an instruction at most."""
    limit = tokenizer.model_max_length
    return int(limit) if limit < 100_000 else KOLORS


def _known(tokenizer: Any, piece: str) -> bool:
    """Whether a piece is a word or a part of one, and no mere byte of it."""
    if piece == tokenizer.unk_token or BYTE.fullmatch(piece):
        return False
    text = tokenizer.convert_tokens_to_string([piece])
    return "\ufffd" not in text and any(map(str.isalnum, text))


def unread(tokenizer: Any, text: str) -> bool:
    """Whether the tokenizer knows nothing of a text but its bytes, as of one in another language than its own."""
    return not any(_known(tokenizer, piece) for piece in tokenizer.tokenize(text))


def tokens(tokenizer: Any, text: str) -> int:
    """Tokens of a text, with what the tokenizer puts around it, before any are cut off."""
    if is_chatglm(tokenizer):
        return len(tokenizer.tokenize(text)) + len(tokenizer.get_prefix_tokens())
    return len(tokenizer(text, truncation=False, verbose=False).input_ids)


@dataclass(frozen=True)
class Heard:
    """How many of some instructions are longer than the tokenizer's limit, and how many it knows nothing of."""

    texts: int
    cut: int
    unread: int
    limit: int

    def told(self) -> list[str]:
        """What a person should know of them."""
        found = []
        if self.cut:
            found.append(
                f"{self.cut} of {self.texts} instructions have more than {self.limit} tokens; the rest is cut off"
            )
        if self.unread:
            found.append(
                f"{self.unread} of {self.texts} instructions are in a language that the text encoder cannot read"
            )
        return found


def heard(tokenizer: Any, texts: Sequence[str]) -> Heard:
    """What the tokenizer makes of instructions."""
    limit = length(tokenizer)
    cut = sum(tokens(tokenizer, text) > limit for text in texts)
    return Heard(len(texts), cut, sum(unread(tokenizer, text) for text in texts), limit)


def refuse_unread(tokenizer: Any, text: str) -> None:
    """`UserError` for an instruction that the text encoder cannot read."""
    if unread(tokenizer, text):
        what = f"the text encoder knows no word of {text[:40]!r}"
        raise UserError(what, where="instruction", remedy="write it in the language that the model was trained in")


@torch.no_grad()
def encode(tokenizer: Any, encoder: Any, texts: Sequence[str]) -> tuple[Tensor, Tensor | None]:
    """States (N, T, D) and pooled states (N, P), None where the UNet takes none; float32, on the CPU."""
    if is_chatglm(tokenizer):
        return chatglm.states(tokenizer, encoder, texts, length(tokenizer), BATCH)
    device, parts = next(encoder.parameters()).device, []
    for i in range(0, len(texts), BATCH):
        batch = tokenizer(
            list(texts[i : i + BATCH]), padding="max_length", max_length=length(tokenizer), truncation=True,
            return_tensors="pt",
        )  # fmt: skip
        parts.append(encoder(batch.input_ids.to(device))[0].float().cpu())
    return torch.cat(parts), None
