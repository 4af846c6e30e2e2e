"""One micro-batch of the three tasks: captions as tokens, visual features, and the denoising problem of the same rows.

The frozen visual backbone is the base model's autoencoder: its latents, already in the cache, on a coarse grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import DDPMScheduler
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerBase

from gillnext.adapter import objective
from gillnext.adapter.cache import Cache
from gillnext.runtime import seeds

GRID = 8  # cells a side of the visual features
LENGTH = 64  # caption tokens, at most


@dataclass(frozen=True)
class Batch:
    """ids (B, L) int64, padded on the right; mask (B, L) int64, 1 where a token is; features (B, V); the denoising
    batch of the same rows, whose text states the mapper's replace.
    """

    ids: Tensor
    mask: Tensor
    features: Tensor
    denoising: objective.Batch

    def __len__(self) -> int:
        return len(self.ids)

    def part(self, index: int, parts: int) -> Batch:
        """Every `parts`-th sample from `index` on."""
        own = {k: getattr(self, k)[index::parts] for k in ("ids", "mask", "features")}
        return Batch(**own, denoising=self.denoising.part(index, parts))

    def to(self, device: torch.device) -> Batch:
        own = {k: getattr(self, k).to(device) for k in ("ids", "mask", "features")}
        return Batch(**own, denoising=objective.to(self.denoising, device))


def latent_features(latents_BCHW: Tensor) -> Tensor:
    """Visual features (B, V): the latents' means on a grid of 8 × 8 cells."""
    return rearrange(F.adaptive_avg_pool2d(latents_BCHW, GRID), "b c h w -> b (c h w)")


def tokens(tokenizer: PreTrainedTokenizerBase, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Ids and mask (B, L) of captions, padded on the right."""
    rows = [torch.tensor(tokenizer.encode(c, add_special_tokens=False)[:LENGTH]) for c in captions]
    mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
    return pad_sequence(rows, batch_first=True, padding_value=int(tokenizer.pad_token_id)), mask


def draw(
    cache: Cache,
    captions: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    scheduler: DDPMScheduler,
    count: int,
    names: tuple[str | int, ...],
) -> Batch:
    """The micro-batch of distinct rows of one bucket that `names` determine; `UserError` where all have too few."""
    generator = seeds.torch_generator("gill", *names)
    pick = cache.pick(count, generator, distinct=True)
    ids, mask = tokens(tokenizer, [captions[i] for i in pick.tolist()])
    denoising = objective.noised(cache, scheduler, pick, 0.0, generator)
    return Batch(ids, mask, latent_features(cache.read(pick).latents), denoising)
