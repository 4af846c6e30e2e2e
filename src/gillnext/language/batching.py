"""Batches of token lists: padded on the left, positions counted from the first real token."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

IGNORE = -100  # label that the loss leaves out


def left_pad(sequences: Sequence[Sequence[int]], value: int) -> Tensor:
    """(B, T) int64, short rows filled with `value` on the left."""
    width = max(map(len, sequences))
    return torch.tensor([[value] * (width - len(s)) + list(s) for s in sequences])


def inputs(sequences: Sequence[Sequence[int]], pad: int, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """`input_ids`, `attention_mask`, `position_ids`, all (B, T): what makes a row's result the same in any batch."""
    mask = left_pad([[1] * len(s) for s in sequences], 0)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    tensors = {"input_ids": left_pad(sequences, pad), "attention_mask": mask, "position_ids": positions}
    return {name: t.to(device) for name, t in tensors.items()}


def labels(prompts: Sequence[int], sequences: Sequence[Sequence[int]]) -> Tensor:
    """(B, T) next-token targets with the first `prompts[i]` tokens of each row and the padding left out."""
    rows = [[IGNORE] * n + list(s[n:]) for n, s in zip(prompts, sequences, strict=True)]
    return left_pad(rows, IGNORE)
