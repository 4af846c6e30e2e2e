"""The attention biases: what is added to the logit of pixel p and box b, before the softmax over boxes.

    none      0
    box       0 where p lies in b, or is the nearest pixel to its centre; −∞ elsewhere
    fourier   s_h · (π(p, b) − π₀),  π(p, b) = mean over k and x, y of cos(f_k · (p − c_b))

c_b is the box's centre, s_h the head's learned strength, π the proximity. The frequencies f are geometric from 1 to
12.6 radians (two turns) per image side: low ones make π a round hill, 1 − |p − c_b|²·mean(f²)/4 near its top. Those of
GLIGEN's features go up to 56, at which π is a cross with ripples: a corner of the box lies lower than a far pixel of
the same row.

The null token stands nowhere and has 0 everywhere. Under `fourier` it takes over from a box where the box's proximity
is below π₀, `NULL_LEVEL`: the boxes' logits are counted from there, so that they are near 0 where the softmax is
decided, and not near s_h·π₀ = 48. Empty slots have −∞.

Letters: B batch, P pixels of an attention map, N box slots (the last is the null token's), F frequencies.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gillnext.adapter.fourier import BANDS

NULL_LEVEL = 0.8  # the proximity at 0.16 of the image from a box's centre
STRENGTH = 60.0  # initial s
STRENGTH_UNIT = 20.0  # s is learned in this unit, so that Adam moves it as fast as it has to


def frequencies() -> Tensor:
    """(F,) angular frequencies in radians per image side."""
    return torch.logspace(0, math.log10(4 * math.pi), BANDS)


def pixel_centres(height: int, width: int) -> Tensor:
    """(P, 2) x, y centres of an h×w grid, row by row, in [0, 1]."""
    y = (torch.arange(height) + 0.5) / height
    x = (torch.arange(width) + 0.5) / width
    return torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], -1).reshape(-1, 2)


def proximity(pixels_P2: Tensor, boxes_BN4: Tensor, omega_F: Tensor) -> Tensor:
    """π(p, b), (B, P, N) in [-1, 1]; 1 at the box's centre."""
    centres_BN2 = (boxes_BN4[..., :2] + boxes_BN4[..., 2:]) / 2
    offset_BPN2 = pixels_P2[None, :, None] - centres_BN2[:, None]
    return torch.cos(offset_BPN2[..., None] * omega_F.to(boxes_BN4)).mean((-1, -2))


def inside(pixels_P2: Tensor, boxes_BN4: Tensor) -> Tensor:
    """Whether a pixel lies in a box, or is the nearest pixel to its centre: (B, P, N) bool, no box without a pixel."""
    p_1P12 = pixels_P2[None, :, None]
    low_B1N2, high_B1N2 = boxes_BN4[:, None, :, :2], boxes_BN4[:, None, :, 2:]
    within_BPN = ((p_1P12 >= low_B1N2) & (p_1P12 <= high_B1N2)).all(-1)
    distance_BPN = (p_1P12 - (low_B1N2 + high_B1N2) / 2).square().sum(-1)
    return within_BPN | (distance_BPN == distance_BPN.amin(1, keepdim=True))


def levels(name: str, pixels_P2: Tensor, boxes_BN4: Tensor, valid_BN: Tensor, omega_F: Tensor) -> Tensor:
    """What the bias `name` says before any strength, (B, P, N): π − π₀ for `fourier`, 0 or −∞ for `box`, 0 for `none`;
    0 for the null token, −∞ in slots that may not be attended.
    """
    if name == "fourier":
        value_BPN = proximity(pixels_P2, boxes_BN4, omega_F) - NULL_LEVEL
        value_BPN[..., -1] = 0
    else:
        value_BPN = boxes_BN4.new_zeros(len(boxes_BN4), len(pixels_P2), boxes_BN4.shape[1])
        if name == "box":
            outside_BPN = ~inside(pixels_P2, boxes_BN4)
            outside_BPN[..., -1] = False
            value_BPN = value_BPN.masked_fill(outside_BPN, -math.inf)
    return value_BPN.masked_fill(~valid_BN[:, None], -math.inf)


def local(levels_BPN: Tensor, pixels_P2: Tensor, boxes_BN4: Tensor, valid_BN: Tensor) -> Tensor:
    """The levels (B, P, N) with −∞ where a pixel lies in a box, for whatever is not a box that it lies in: the other
    boxes and the null token. A pixel that lies in no box keeps its levels.
    """
    own_BPN = inside(pixels_P2, boxes_BN4) & valid_BN[:, None]
    own_BPN[..., -1] = False
    return levels_BPN.masked_fill(own_BPN.any(-1, keepdim=True) & ~own_BPN, -math.inf)


def logits(levels_BPN: Tensor, strength_H: Tensor | None) -> Tensor:
    """What is added to the attention logits, (B, H or 1, P, N): the levels, times s where the bias has strengths."""
    value_B1PN = levels_BPN[:, None]
    if strength_H is None:
        return value_B1PN
    finite_B1PN = value_B1PN.masked_fill(value_B1PN == -math.inf, 0)
    scaled_BHPN = finite_B1PN * strength_H.to(value_B1PN)[None, :, None, None]
    return scaled_BHPN.masked_fill(value_B1PN == -math.inf, -math.inf)
