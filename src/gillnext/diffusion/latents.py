"""Pictures to latents and back, through a base's autoencoder.

Letters: N pictures, C channels, H rows, W columns.
"""

from __future__ import annotations

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor


def to_tensor(images: np.ndarray) -> Tensor:
    """(N, H, W, 3) uint8 to (N, 3, H, W) float in [-1, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def to_images(pixels_NCHW: Tensor) -> np.ndarray:
    """(N, 3, H, W) in [-1, 1] to (N, H, W, 3) uint8."""
    scaled = pixels_NCHW.detach().float().clamp(-1, 1).add(1).mul(127.5).round()
    return scaled.permute(0, 2, 3, 1).to(torch.uint8).cpu().numpy()


def _normalisation(vae: AutoencoderKL) -> tuple[Tensor, Tensor] | None:
    """Mean and deviation (1, C, 1, 1) of the latents' channels, where the autoencoder names them."""
    mean, deviation = (getattr(vae.config, name, None) for name in ("latents_mean", "latents_std"))
    if mean is None or deviation is None:
        return None
    return torch.tensor(mean).view(1, -1, 1, 1), torch.tensor(deviation).view(1, -1, 1, 1)


@torch.no_grad()
def encode(vae: AutoencoderKL, images: np.ndarray, batch: int = 16) -> Tensor:
    """Scaled mean latents (N, C, h, w), float32, of uint8 pictures; the batch size changes nothing but speed."""
    like = next(vae.parameters())
    parts = [
        vae.encode(to_tensor(images[i : i + batch]).to(like)).latent_dist.mode().float().cpu()
        for i in range(0, len(images), batch)
    ]
    latents_NCHW = torch.cat(parts)
    if named := _normalisation(vae):
        latents_NCHW = (latents_NCHW - named[0]) / named[1]
    return latents_NCHW * vae.config.scaling_factor


@torch.no_grad()
def decode(vae: AutoencoderKL, latents_NCHW: Tensor, batch: int = 16) -> np.ndarray:
    """uint8 pictures (N, H, W, 3) of scaled latents."""
    like = next(vae.parameters())
    scaled = latents_NCHW / vae.config.scaling_factor
    if named := _normalisation(vae):
        scaled = scaled * named[1].to(scaled) + named[0].to(scaled)
    parts = [to_images(vae.decode(part.to(like)).sample) for part in scaled.split(batch)]
    return np.concatenate(parts)
