"""Grounding: the box tokens of a batch with what the attention bias needs, passed through `cross_attention_kwargs`.

Letters: B batch, N box slots, D token width, P pixels of an attention map, H heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gillnext.adapter import bias
from gillnext.layouts import MAX_BOXES
from gillnext.runtime.errors import UserError


def halved(size: tuple[int, int], pixels: int) -> tuple[int, int]:
    """Height and width of the grid of `pixels` that latents of `size` cells become, halved again and again (odd sides
    rounded up, as strided convolutions do). Raises `ValueError` where none has as many.
    """
    height, width = size
    while height * width > pixels:
        height, width = (height + 1) // 2, (width + 1) // 2
    if height * width != pixels:
        raise ValueError(f"{pixels} pixels do not form a grid of aspect {size[0]}:{size[1]}")
    return height, width


@dataclass
class Grounding:
    """Box tokens and their geometry.

    tokens_BND: the slots' tokens; the last slot is always the null token, so attention has somewhere to go.
    boxes_BN4: unit xyxy, for the bias alone. valid_BN: slots that may be attended (real boxes, and the null).
    local: pixels of a box attend to that box alone, as in the first steps of instance-local sampling.
    """

    tokens_BND: Tensor
    boxes_BN4: Tensor
    valid_BN: Tensor
    bias: str
    size: tuple[int, int]
    omega_F: Tensor
    local: bool = False
    _maps: dict[tuple[int, bool], Tensor] = field(default_factory=dict, repr=False)

    def grid(self, pixels: int) -> tuple[int, int]:
        """Height and width of an attention map of `pixels`."""
        return halved(self.size, pixels)

    def map(self, pixels: int) -> Tensor:
        """(B, P, N) levels of the bias, cached: the layers of one size share them."""
        key = pixels, self.local
        if key not in self._maps:
            centres_P2 = bias.pixel_centres(*self.grid(pixels)).to(self.boxes_BN4)
            levels_BPN = bias.levels(self.bias, centres_P2, self.boxes_BN4, self.valid_BN, self.omega_F)
            if self.local:
                levels_BPN = bias.local(levels_BPN, centres_P2, self.boxes_BN4, self.valid_BN)
            self._maps[key] = levels_BPN
        return self._maps[key]

    def logits(self, pixels: int, strength_H: Tensor | None) -> Tensor:
        """The bias that is added to the attention logits, (B, H or 1, P, N)."""
        return bias.logits(self.map(pixels), strength_H)


def pad(boxes: Sequence[Sequence[Sequence[float]]], slots: int = MAX_BOXES) -> tuple[Tensor, Tensor]:
    """Ragged boxes to (B, slots, 4) and which of them are real (B, slots); `UserError` where a layout has too many."""
    padded, real = torch.zeros(len(boxes), slots, 4), torch.zeros(len(boxes), slots, dtype=torch.bool)
    for i, sample in enumerate(boxes):
        if len(sample) > slots:
            raise UserError(
                f"{len(sample)} boxes in one layout; the adapter has {slots} slots",
                where=f"layout {i} of the batch",
                remedy=f"give at most {slots} boxes",
            )
        if len(sample):
            padded[i, : len(sample)] = torch.as_tensor(sample, dtype=torch.float32)
            real[i, : len(sample)] = True
    return padded, real
