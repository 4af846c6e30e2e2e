"""What a training step learns from: clips in an order of their own, noise, timesteps, and conditions that are left out.

Samples follow one another through shuffled epochs: sample n of a training is the (n mod N)-th of epoch n // N. Batches
run on over the end of an epoch, so that none is partial, and micro-batches of a step weigh the same.

Letters: B samples, F frames, C latent channels, h and w their rows and columns; T tokens, D width, P pooled width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import DDPMScheduler
from torch import Tensor

from gillnext.diffusion.objective import target, timesteps
from gillnext.frames.latents import Latents
from gillnext.runtime import seeds


@dataclass(frozen=True)
class Batch:
    """Noisy latents and what is to be predicted (B, C, h, w); timesteps (B,); frames (B, F, C, h, w), as the encoder
    gives
    them, zero where they are left out; states (B, T, D), pooled (B, P) or None.
    """

    noisy: Tensor
    target: Tensor
    timesteps: Tensor
    frames: Tensor
    states: Tensor
    pooled: Tensor | None

    def to(self, device: torch.device) -> Batch:
        moved: dict[str, Any] = {k: None if v is None else v.to(device) for k, v in vars(self).items()}
        return Batch(**moved)


def order(first: int, count: int, clips: int, *names: str | int) -> Tensor:
    """The clips of samples `first` to `first + count`, (count,)."""
    epochs = range(first // clips, (first + count - 1) // clips + 1)
    shuffled = [torch.randperm(clips, generator=seeds.torch_generator("epoch", *names, epoch)) for epoch in epochs]
    start = first - epochs.start * clips
    return torch.cat(shuffled)[start : start + count]


def dropped(count: int, share: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Which of `count` samples lack the instruction, and which the frames: a `share` of each alone, and one of both."""
    u = torch.rand(count, generator=generator)
    return u < 2 * share, (u >= share) & (u < 3 * share)


class Examples:
    """The batches of a training on a split's latents; `of(step, part)` depends on its arguments alone."""

    def __init__(
        self,
        latents: Latents,
        scheduler: DDPMScheduler,
        frames: int,
        batch: int,
        accumulation: int,
        drop: float,
        seed: int,
    ) -> None:
        self.latents, self.scheduler, self.frames = latents, scheduler, frames
        self.batch, self.accumulation, self.drop, self.seed = batch, accumulation, drop, seed

    def of(self, step: int, part: int = 0, share: tuple[int, int] = (0, 1)) -> Batch:
        """Micro-batch `part` of a step; `share` (index, of) gives every `of`-th of its samples, from `index` on."""
        index, shares = share
        generator = seeds.torch_generator("frames", self.seed, step, part)
        first = (step * self.accumulation + part) * self.batch
        pick = order(first, self.batch, len(self.latents), self.seed)
        versions = torch.randint(self.latents.versions, (self.batch,), generator=generator)
        steps = timesteps(self.batch, self.scheduler.config.num_train_timesteps, generator)[index::shares]
        without_text, without_frames = (one[index::shares] for one in dropped(self.batch, self.drop, generator))
        mine = list(zip(pick[index::shares].tolist(), versions[index::shares].tolist(), strict=True))
        frames, clean = (
            torch.stack(one) for one in zip(*(self.latents.of(*i, self.frames) for i in mine), strict=True)
        )
        noise = torch.randn(self.batch, *clean.shape[1:], generator=generator)[index::shares]
        frames[without_frames] = 0.0
        numbers = self.latents.number[pick[index::shares]].masked_fill(without_text, -1)
        states, pooled = self.latents.texts(numbers)
        noisy = self.scheduler.add_noise(clean, noise, steps)
        return Batch(noisy, target(self.scheduler, clean, noise, steps), steps, frames, states, pooled)
