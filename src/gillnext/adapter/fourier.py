"""Fourier features: of boxes for the tokens, and of offsets for the attention bias.

Frequencies of the tokens by name: `gligen` is GLIGEN's and diffusers' 100^(k/8) without 2π (Li et al., 2023);
`sin2pi` is 2π·2^k, under which an integer coordinate gives a constant embedding. The bias has its own, lower ones.
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


def bias_frequencies() -> Tensor:
    """(BANDS,) angular frequencies of the bias, geometric from 1 to 4π radians per image side.

    Low ones make Σ cos(ω·d) a round hill, 1 − |d|²·mean(ω²)/4 near its top. GLIGEN's go up to 56, at which the sum is a
    cross with ripples: a corner of the box lies lower than a far pixel of the same row.
    """
    return torch.logspace(0, math.log10(4 * math.pi), BANDS)


def embed(boxes_BN4: Tensor, omega_F: Tensor) -> Tensor:
    """Sine and cosine of every coordinate at every frequency: (B, N, 4) to (B, N, 8·F), in [-1, 1].

    Whole turns are taken off first, so that large coordinates (the raw arm's) keep their precision.
    """
    turns = boxes_BN4[..., None] * (omega_F / (2 * math.pi)).to(boxes_BN4)
    phase = 2 * math.pi * (turns - turns.floor())
    return rearrange(torch.stack([phase.sin(), phase.cos()]), "s b n c f -> b n (c f s)")


def pixel_centres(height: int, width: int) -> Tensor:
    """(P, 2) x, y centres of an h×w grid, row by row, in [0, 1]."""
    y = (torch.arange(height) + 0.5) / height
    x = (torch.arange(width) + 0.5) / width
    return torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], -1).reshape(-1, 2)


def proximity(pixels_P2: Tensor, boxes_BN4: Tensor, omega_F: Tensor) -> Tensor:
    """mean_f,axis cos(ω_f·(p − centre_b)): (B, P, N) in [-1, 1]; 1 at the box's centre."""
    centres = (boxes_BN4[..., :2] + boxes_BN4[..., 2:]) / 2
    offset = pixels_P2[None, :, None] - centres[:, None]  # (B, P, N, 2)
    return torch.cos(offset[..., None] * omega_F.to(boxes_BN4)).mean((-1, -2))


def inside(pixels_P2: Tensor, boxes_BN4: Tensor) -> Tensor:
    """Whether a pixel lies in a box, or is the nearest pixel to its centre: (B, P, N) bool, no box without a pixel."""
    p = pixels_P2[None, :, None]
    low, high = boxes_BN4[:, None, :, :2], boxes_BN4[:, None, :, 2:]
    within = ((p >= low) & (p <= high)).all(-1)
    distance = (p - (low + high) / 2).square().sum(-1)
    return within | (distance == distance.amin(1, keepdim=True))
