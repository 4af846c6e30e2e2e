"""Fourier features of boxes, for their tokens.

Frequencies by name: `gligen` is GLIGEN's and diffusers' 100^(k/8) without 2π (Li et al., 2023);
`sin2pi` is 2π·2^k, under which an integer coordinate gives a constant embedding.

Letters: B batch, N box slots, F frequencies.
"""

from __future__ import annotations

import math

import torch
from einops import rearrange
from torch import Tensor

BANDS = 8


def frequencies(name: str) -> Tensor:
    """(BANDS,) angular frequencies in radians per image side."""
    k = torch.arange(BANDS, dtype=torch.float32)
    if name == "gligen":
        return 100 ** (k / BANDS)
    if name == "sin2pi":
        return 2 * math.pi * 2**k
    raise ValueError(f"unknown frequencies {name!r}: gligen or sin2pi")


def embed(boxes_BN4: Tensor, omega_F: Tensor) -> Tensor:
    """Sine and cosine of every coordinate at every frequency: (B, N, 4) to (B, N, 8·F), in [-1, 1].

    Whole turns are taken off first, so that large coordinates (the raw arm's) keep their precision.
    """
    turns_BN4F = boxes_BN4[..., None] * (omega_F / (2 * math.pi)).to(boxes_BN4)
    phase_BN4F = 2 * math.pi * (turns_BN4F - turns_BN4F.floor())
    return rearrange(torch.stack([phase_BN4F.sin(), phase_BN4F.cos()]), "s b n c f -> b n (c f s)")
