"""What a diffusion model is trained on: size conditions, timesteps and targets, as SDXL and Kolors take them."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import DDPMScheduler
from torch import Tensor

CENTRE = 0.6  # logit of the timestep about which half of the training steps lie


def size_conditions(count: int, original: int, target: int | None = None) -> Tensor:
    """SDXL's and Kolors' size conditions (count, 6): original size, crop corner (y, x) at 0, target size, in pixels.

    `target` None: as large as the original.
    """
    side = original if target is None else target
    return torch.tensor([[original, original, 0, 0, side, side]], dtype=torch.float32).repeat(count, 1)


def timesteps(count: int, total: int, generator: torch.Generator) -> Tensor:
    """Training timesteps (count,): half uniform, half logit-normal (Esser et al., 2024) about 0.65 of `total`.

    Content is decided at high noise; without the uniform half, pictures keep a blotchy texture that no low-noise step
    has learned to take off. Each half is stratified (Kingma et al., 2021), so that a small batch covers it.
    """
    half = count // 2
    u = torch.rand(count, generator=generator)
    uniform = (torch.arange(half) + u[:half]) / max(half, 1)
    quantile = (torch.arange(count - half) + u[half:]) / (count - half)
    normal = torch.special.ndtri(quantile.clamp(1e-4, 1 - 1e-4)) + CENTRE
    share = torch.cat([uniform, normal.sigmoid()])[torch.randperm(count, generator=generator)]
    return (share * total).long().clamp(0, total - 1)


def training_scheduler(config: dict[str, Any]) -> DDPMScheduler:
    """The scheduler that adds noise in training, with the betas and prediction type of a pipeline's own scheduler."""
    scheduler = DDPMScheduler.from_config(config)
    if scheduler.config.prediction_type not in ("epsilon", "v_prediction"):
        raise ValueError(f"prediction type {scheduler.config.prediction_type!r} is not supported")
    return scheduler


def target(scheduler: DDPMScheduler, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
    """What the UNet predicts: the noise, or v = α·ε − σ·x₀ (Salimans & Ho, 2022, appendix D); (B, C, h, w), as latents
    and noise are.
    """
    if scheduler.config.prediction_type == "epsilon":
        return noise
    return scheduler.get_velocity(latents, noise, timesteps)
