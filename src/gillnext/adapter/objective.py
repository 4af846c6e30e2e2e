"""The adapter's objective: the frozen UNet's own denoising loss, with grounding.

`Denoiser` is what accelerate wraps: adapter and frozen UNet in one module, so that DDP sees one forward.

Letters: B samples, h and w cells of the latents; `Batch` has the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional as F

from gillnext.adapter.cache import Cache
from gillnext.adapter.model import SpatialAdapter
from gillnext.diffusion.objective import target, timesteps
from gillnext.runtime import seeds


@dataclass(frozen=True)
class Batch:
    """One micro-batch, on the device: noisy latents, their timesteps and targets, conditions, and dropped samples.

    B samples, N box slots: noisy and target (B, 4, h, w) latents; timesteps (B,) int64; states (B, T, D) and pooled
    (B, P) of the caption; time_ids (B, 6), SDXL's sizes and crops in pixels; boxes (B, N, 4), xyxy in [0, 1]; real and
    dropped, (B, N) and (B,) bool; phrases (B, N, C).
    """

    noisy: Tensor
    target: Tensor
    timesteps: Tensor
    states: Tensor
    pooled: Tensor
    time_ids: Tensor
    boxes: Tensor
    real: Tensor
    phrases: Tensor
    dropped: Tensor

    def __len__(self) -> int:
        return len(self.noisy)

    def part(self, index: int, parts: int) -> Batch:
        """Every `parts`-th sample from `index` on."""
        return Batch(**{k: v[index::parts] for k, v in vars(self).items()})


def draw(
    cache: Cache,
    scheduler: DDPMScheduler,
    count: int,
    drop: float,
    names: tuple[str | int, ...],
    drop_caption: bool = False,
    share: tuple[int, int] = (0, 1),
) -> Batch:
    """The micro-batch of `count` samples of one bucket that `names` (seed, step, part) determine; the same on every
    machine and worker. `drop`, in [0, 1], is the share without grounding, which with `drop_caption` has the empty
    caption too. `share` (index, of) gives `Batch.part` of that batch, and reads no other rows.
    """
    generator = seeds.torch_generator("adapter", *names)
    return noised(cache, scheduler, cache.pick(count, generator), drop, generator, drop_caption, share)


def noised(
    cache: Cache,
    scheduler: DDPMScheduler,
    pick: Tensor,
    drop: float,
    generator: torch.Generator,
    drop_caption: bool = False,
    share: tuple[int, int] = (0, 1),
) -> Batch:
    """The rows `pick` (B,) of the cache with timesteps, noise and dropped samples of `generator`; else as `draw`."""
    index, shares = share
    rows = cache.read(pick[index::shares])
    steps = timesteps(len(pick), scheduler.config.num_train_timesteps, generator)[index::shares]
    noise = torch.randn(len(pick), *rows.latents.shape[1:], generator=generator)[index::shares]
    dropped = (torch.rand(len(pick), generator=generator) < drop)[index::shares]
    empty = dropped & drop_caption
    rows.states[empty], rows.pooled[empty] = cache.empty_states, cache.empty_pooled
    return Batch(
        noisy=scheduler.add_noise(rows.latents, noise, steps),
        target=target(scheduler, rows.latents, noise, steps),
        timesteps=steps,
        states=rows.states,
        pooled=rows.pooled,
        time_ids=rows.time_ids,
        boxes=rows.boxes,
        real=rows.real,
        phrases=rows.phrases,
        dropped=dropped,
    )


def to(batch: Batch, device: torch.device) -> Batch:
    return Batch(**{k: v.to(device, non_blocking=True) for k, v in vars(batch).items()})


class Denoiser(nn.Module):
    """Adapter and frozen UNet; the loss of a batch is the mean squared error of the prediction."""

    def __init__(self, adapter: SpatialAdapter, unet: UNet2DConditionModel) -> None:
        super().__init__()
        self.adapter, self.unet = adapter, unet

    def forward(self, batch: Batch) -> Tensor:
        """A number; `Batch` has the shapes."""
        size = (batch.noisy.shape[-2], batch.noisy.shape[-1])
        grounding = self.adapter(batch.boxes, batch.phrases, batch.real, size, batch.dropped)
        prediction_B4hw = self.unet(
            batch.noisy,
            batch.timesteps,
            batch.states,
            added_cond_kwargs={"text_embeds": batch.pooled, "time_ids": batch.time_ids},
            cross_attention_kwargs=self.adapter.keywords(grounding),
        ).sample
        return F.mse_loss(prediction_B4hw.float(), batch.target)
