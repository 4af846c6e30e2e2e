"""The workloads: three UNet forwards, as the design notes assume, and three losses of a model of GILL's shape.

`unet` has one denoising loss with caption and boxes, one with boxes alone and one with the caption alone, at noise and
timesteps of their own; at Kolors' size its UNet has random weights and its batch random latents. `gill` is captioning,
retrieval and generation of `gillnext.gill` on one batch, generation through the UNet; `gill_l2` has GILL's own loss in
its place.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gillnext.adapter import cache as cached
from gillnext.adapter import objective
from gillnext.adapter.cache import Cache
from gillnext.adapter.model import SpatialAdapter
from gillnext.adapter.pipeline import load
from gillnext.adapter.trainer import arm_of, build_adapter, recompute
from gillnext.config.model import Config
from gillnext.diffusion.objective import training_scheduler
from gillnext.gill import batches
from gillnext.gill.backward import of_part
from gillnext.gill.losses import MATCHED, TASKS
from gillnext.gill.model import Gill, Sizes
from gillnext.language import model as language_model
from gillnext.memory import kolors
from gillnext.memory.step import ALONE, Work
from gillnext.runtime import seeds


@dataclasses.dataclass(frozen=True)
class Folders:
    """Where the base pipeline, the parts of the cache and the language model lie."""

    base: Path
    cache: tuple[Path, ...]
    language: Path

    def named(self) -> dict[str, Path]:
        """Each by its name, the cache's parts by their places."""
        parts = {f"cache {i}": folder for i, folder in enumerate(self.cache)}
        return {"base": self.base, **parts, "language": self.language}


def tasks(first: Callable[[int], objective.Batch], count: int) -> list[objective.Batch]:
    """The step's batches out of `first(k)`: caption and boxes; boxes alone; caption alone."""
    drawn = [first(k) for k in range(count)]
    if count > 1:
        empty = {k: torch.zeros_like(getattr(drawn[1], k)) for k in ("states", "pooled")}
        drawn[1] = dataclasses.replace(drawn[1], **empty)
        drawn[2] = dataclasses.replace(drawn[2], dropped=torch.ones_like(drawn[2].dropped))
    return drawn


def awake_adapter(cfg: Config, unet: nn.Module) -> SpatialAdapter:
    """The reference arm's adapter in `unet`, its weights away from zero, so that every gradient is at work."""
    adapter = build_adapter(cfg, arm_of(cfg, cfg.study.reference), unet, 0)
    for p in adapter.parameters():
        nn.init.normal_(p, std=0.05, generator=torch.Generator().manual_seed(p.numel()))
    adapter.to(cfg.run.device).inject(unet)
    return adapter


def denoising(cfg: Config, mode: str, unet: Any, drawn: Sequence[objective.Batch], precision: str = "no") -> Work:
    """The workload `unet`: one denoising loss a batch."""
    unet.requires_grad_(mode == "full")
    adapter = awake_adapter(cfg, unet)
    if mode == "checkpointed":
        recompute(unet)
    model = objective.Denoiser(adapter, unet)
    loss = kolors.autocast(model, precision)
    moved = [objective.to(batch, torch.device(cfg.run.device)) for batch in drawn]
    losses = {f"denoising {k}": of_part(loss, batch) for k, batch in enumerate(moved)}
    sizes = {"adapter": language_model.parameters(adapter), "unet": language_model.parameters(unet)}
    return Work(losses, model, list(adapter.parameters()), sizes, len(moved[0]))


def unet(cfg: Config, mode: str, folders: Folders) -> Work:
    """Three UNet forwards of the base model, or one."""
    pipeline = load(folders.base, device=cfg.run.device)
    scheduler = training_scheduler(pipeline.scheduler.config)
    rows = Cache.load(*folders.cache)

    def first(k: int) -> objective.Batch:
        return objective.draw(rows, scheduler, cfg.memory.batch, 0.0, ("memory", cfg.run.seed, k))

    return denoising(cfg, mode, pipeline.unet, tasks(first, 1 if mode in ALONE else 3))


def unet_at_kolors_size(cfg: Config, mode: str, _: Folders) -> Work:
    """The same at Kolors' real size, batch 1: `UserError` without a GPU."""
    kolors.check(cfg.run.device)
    network = kolors.build(kolors.UNET, cfg.run.device, cfg.run.precision if mode != "full" else "no")
    drawn = tasks(partial(kolors.draw, network.config, cfg.run.seed), 1 if mode in ALONE else 3)
    return denoising(cfg, mode, network, drawn, cfg.run.precision)


def gill(cfg: Config, mode: str, folders: Folders, tasks: dict[str, Any] = TASKS) -> Work:
    """Three losses of GILL's shape on one batch, with the base model's UNet."""
    pipeline = load(folders.base, device=cfg.run.device)
    scheduler = training_scheduler(pipeline.scheduler.config)
    rows, captions = Cache.load(*folders.cache), cached.captions(*folders.cache)
    language, tokenizer = language_model.load(folders.language, cfg.run.device)
    names = ("memory", cfg.run.seed)
    batch = batches.draw(rows, captions, tokenizer, scheduler, cfg.memory.batch, names)
    denoiser = objective.Denoiser(awake_adapter(cfg, pipeline.unet), pipeline.unet)
    torch.manual_seed(seeds.key("gill", cfg.run.seed))
    features, (states, width), pooled = batch.features.shape[1], batch.states.shape[1:], batch.pooled.shape[1]
    model = Gill(language, Sizes(features, states, width, pooled), denoiser).to(cfg.run.device)
    if mode == "checkpointed":
        recompute(pipeline.unet)
        language.activation_checkpointing_enable({"use_reentrant": False})
        language.train()
    batch = batch.to(torch.device(cfg.run.device))
    losses = {name: of_part(partial(task, model), batch) for name, task in tasks.items()}
    trained = list(model.trainable_parameters().values())
    count = sum(p.numel() for p in trained)
    counts = {"trained": count, "frozen": language_model.parameters(model) - count}
    return Work(losses, model, trained, counts, len(batch))


def gill_l2(cfg: Config, mode: str, folders: Folders) -> Work:
    """The same with GILL's own generation loss, which runs no UNet."""
    return gill(cfg, mode, folders, MATCHED)
