"""CMMD: distance between two sets of images in CLIP's embedding (Jayasumana et al., 2024, "Rethinking FID").

1000 · MMD² with the kernel k(x, y) = exp(−‖x − y‖² / 2σ²), σ = 10, of unit embeddings. As in the authors' code, the
estimator is the one of least variance: means over all pairs, each image with itself included, so it is never negative
and 0 for a set against itself. Published values are of CLIP ViT-L/14 at 336 pixels; with a Chinese-CLIP it compares
with none of them.

Letters: N and M images, E embedding width.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch.nn import functional as F

from gillnext.score.text import Loader

SIGMA = 10.0
SCALE = 1000.0


@torch.no_grad()
def embed(batches: Iterable[Sequence[np.ndarray] | np.ndarray], load: Loader, device: str = "cpu") -> np.ndarray:
    """Unit image embeddings (N, E), float64, of batches of images (H, W, 3) uint8 of any sizes."""
    model, processor = load()
    model.to(device)
    parts = []
    for images in batches:
        pixels_BCHW = processor(images=list(images), return_tensors="pt")["pixel_values"]
        features_BE = model.get_image_features(pixel_values=pixels_BCHW.to(device))
        parts.append(F.normalize(features_BE.double(), dim=-1).cpu().numpy())
    return np.concatenate(parts)


def _kernel_mean(a_NE: np.ndarray, b_ME: np.ndarray) -> float:
    square_NM = (a_NE**2).sum(1)[:, None] + (b_ME**2).sum(1)[None] - 2 * a_NE @ b_ME.T
    return float(np.exp(-square_NM / (2 * SIGMA**2)).mean())


def cmmd(a_NE: np.ndarray, b_ME: np.ndarray) -> float:
    """The distance of two sets of unit embeddings, ≥ 0 up to rounding; float64, as three means near 1 cancel."""
    return SCALE * (_kernel_mean(a_NE, a_NE) + _kernel_mean(b_ME, b_ME) - 2 * _kernel_mean(a_NE, b_ME))
