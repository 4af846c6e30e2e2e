"""Degraded copies of training pictures, so that what looks at them also works on JPEGs and on generated pictures.

Every operation is drawn per picture from one NumPy generator, so a batch depends on its seed alone.
"""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

# Letters of shapes: B pictures, C = 3 channels, H rows, W columns.


def jpeg(image: np.ndarray, quality: int, subsampling: int = 0) -> np.ndarray:
    """`image` (H, W, 3) uint8 through JPEG at `quality` (1–95)."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling=subsampling)
    return np.asarray(Image.open(buffer))


def blur(image_CHW: Tensor, side: int) -> Tensor:
    """Resample to `side` pixels and back: the softness of an autoencoder's reconstruction."""
    size = image_CHW.shape[-2:]
    small = F.interpolate(image_CHW[None], (side, side), mode="bilinear", antialias=True)
    return F.interpolate(small, size, mode="bicubic")[0]


def recolour(images_BCHW: Tensor, rng: np.random.Generator, amount: float = 0.06) -> Tensor:
    """A gain and an offset for each picture and channel, within ±`amount`."""
    gain, offset = rng.uniform(-amount, amount, (2, len(images_BCHW), 3, 1, 1)).astype(np.float32)
    return images_BCHW * torch.from_numpy(1 + gain) + torch.from_numpy(offset)


def noise(images_BCHW: Tensor, rng: np.random.Generator, sigma: float = 0.04) -> Tensor:
    """Pixel noise and smooth noise (a quarter of the resolution), each of a strength up to `sigma`."""
    b, c, h, w = images_BCHW.shape
    strength = rng.uniform(0, sigma, (2, b, 1, 1, 1)).astype(np.float32)
    fine = rng.standard_normal((b, c, h, w), dtype=np.float32)
    coarse = torch.from_numpy(rng.standard_normal((b, c, h // 4, w // 4), dtype=np.float32))
    smooth = F.interpolate(coarse, (h, w), mode="bilinear")
    return images_BCHW + torch.from_numpy(strength[0] * fine) + torch.from_numpy(strength[1]) * smooth


def degrade(images: np.ndarray, rng: np.random.Generator, *, jpegs: float, blurs: float, noisy: bool) -> Tensor:
    """(B, H, W, 3) uint8 to (B, 3, H, W) float in [0, 1]; `jpegs` and `blurs` are shares of pictures."""
    pictures = []
    for image in images:
        if rng.random() < jpegs:
            image = jpeg(image, int(rng.integers(50, 96)), int(rng.integers(0, 3)))
        picture = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
        if rng.random() < blurs:
            picture = blur(picture, int(rng.integers(image.shape[0] // 2, image.shape[0])))
        pictures.append(picture)
    batch_BCHW = torch.stack(pictures)
    if noisy:
        batch_BCHW = noise(recolour(batch_BCHW, rng), rng)
    return batch_BCHW.clamp(0, 1)
