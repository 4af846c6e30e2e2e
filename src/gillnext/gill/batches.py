"""One micro-batch of the three tasks: captions, what is said before the [IMG] tokens, features, and what to generate.

`draw` makes one of a cache's rows: a caption is all that is said of its picture, and the autoencoder's latents on a
coarse grid stand in for visual features. `examples.py` makes them of conversations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import DDPMScheduler
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedTokenizerBase

from gillnext.adapter import objective
from gillnext.adapter.cache import Cache
from gillnext.gill.sequence import Texts, padded
from gillnext.runtime import seeds

GRID = 8  # cells a side of the visual features
LENGTH = 64  # caption tokens, at most


@dataclass(frozen=True)
class Batch:
    """B pictures: features (B, V); texts, what was said until each; states (B, T, C) and pooled (B, P) of their
    captions, from the base's text encoder; and their denoising problem where the UNet is run. captions, and what they
    name: the pictures with features `captioned`, or the same ones.
    """

    features: Tensor
    captions: Texts
    texts: Texts
    states: Tensor
    pooled: Tensor
    denoising: objective.Batch | None = None
    captioned: Tensor | None = None

    @property
    def named(self) -> Tensor:
        """The features of the pictures that the captions name."""
        return self.features if self.captioned is None else self.captioned

    def __len__(self) -> int:
        return len(self.features)

    def part(self, index: int, parts: int) -> Batch:
        """Every `parts`-th sample from `index` on."""
        return Batch(
            self.features[index::parts],
            self.captions.part(index, parts),
            self.texts.part(index, parts),
            self.states[index::parts],
            self.pooled[index::parts],
            self.denoising and self.denoising.part(index, parts),
            None if self.captioned is None else self.captioned[index::parts],
        )

    def to(self, device: torch.device) -> Batch:
        return Batch(
            self.features.to(device),
            self.captions.to(device),
            self.texts.to(device),
            self.states.to(device),
            self.pooled.to(device),
            self.denoising and objective.to(self.denoising, device),
            None if self.captioned is None else self.captioned.to(device),
        )


def latent_features(latents_BCHW: Tensor) -> Tensor:
    """Visual features (B, V): the latents' means on a grid of 8 × 8 cells."""
    return rearrange(F.adaptive_avg_pool2d(latents_BCHW, GRID), "b c h w -> b (c h w)")


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
    rows = [tokenizer.encode(captions[i], add_special_tokens=False)[:LENGTH] for i in pick.tolist()]
    said = Texts(*padded(rows))
    denoising = objective.noised(cache, scheduler, pick, 0.0, generator)
    features = latent_features(cache.read(pick).latents)
    return Batch(features, said, said, denoising.states, denoising.pooled, denoising)
