"""Measure one training step under summed, split and checkpointed backward, and under full fine-tuning.

    gillnext memory --config config.yaml --base results/demo/models/base --cache results/demo/cache \\
        --out results/demo/memory.json

The step has three UNet forwards, as the design notes assume for GILL's three losses: with caption and boxes, with
boxes alone, and with the caption alone, at noise and timesteps of their own. `summed` runs one backward over their sum,
`split` one after each, `checkpointed` recomputes activations (one backward), `single` is one loss alone, and `full`
trains the whole UNet on it. Each mode runs in a process of its own. `saved_bytes` is what the graph holds when the
last forward before a backward has ended, `peak_bytes` the largest sum of live tensors: both exact counts. Seconds and
resident memory are costs.
"""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gillnext.adapter import objective
from gillnext.adapter.cache import Cache
from gillnext.adapter.train import arm_of, build_adapter
from gillnext.config.arguments import add_config, add_out, config
from gillnext.config.model import Config
from gillnext.memory.live import LiveBytes
from gillnext.runtime import files, provenance, training
from gillnext.sample.pipeline import GroundedKolorsPipeline

MODES = ("single", "summed", "split", "checkpointed", "full")


def tasks(cfg: Config, cache: Cache, scheduler: Any, image_size: int, count: int) -> list[objective.Batch]:
    """The step's three batches: caption and boxes, boxes alone, caption alone."""
    batches = [
        objective.draw(cache, scheduler, cfg.memory.batch, 0.0, image_size, ("memory", cfg.run.seed, k))
        for k in range(count)
    ]
    if count > 1:
        batches[1] = dataclasses.replace(
            batches[1], states=torch.zeros_like(batches[1].states), pooled=torch.zeros_like(batches[1].pooled)
        )
        batches[2] = dataclasses.replace(batches[2], dropped=torch.ones_like(batches[2].dropped))
    return batches


def step(model: objective.Denoiser, batches: list[objective.Batch], split: bool, live: LiveBytes | None) -> int:
    """Forward and backward of one step; returns the bytes held when the last forward before a backward ended."""
    held = 0
    total: Tensor | float = 0.0
    for batch in batches:
        loss = model(batch)
        held = max(held, live.live if live else 0)
        if split:
            loss.backward()
            del loss
        else:
            total = total + loss
    if not split:
        total.backward()  # type: ignore[union-attr]
    return held


def resident(reset: bool = False) -> int:
    """Peak resident bytes of this process since the last reset (Linux)."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) * 1024


def measure(cfg: Config, mode: str, base: Path, cache_folder: Path) -> dict[str, Any]:
    """One mode: bytes, seconds and the adapter's gradient."""
    training.setup(cfg.run.threads, cfg.run.device)
    pipeline = GroundedKolorsPipeline.from_folders(base, device=cfg.run.device)
    unet = pipeline.unet.requires_grad_(mode == "full")
    adapter = build_adapter(cfg, arm_of(cfg, cfg.study.reference), unet, 0).to(cfg.run.device)
    for p in adapter.parameters():  # away from zero, so that every gradient is at work
        torch.nn.init.normal_(p, std=0.05, generator=torch.Generator().manual_seed(p.numel()))
    pipeline.attach(adapter)
    if mode == "checkpointed":
        unet.enable_gradient_checkpointing()
        unet.train()
    scheduler = objective.scheduler_of(pipeline.scheduler.config)
    size = unet.config.sample_size * pipeline.vae_scale_factor
    count = 1 if mode in ("single", "full") else 3
    batches = tasks(cfg, Cache.load(cache_folder), scheduler, size, count)
    model = objective.Denoiser(adapter, unet)
    trained = [p for p in model.parameters() if p.requires_grad]

    def run(live: LiveBytes | None = None) -> int:
        for p in trained:
            p.grad = None
        return step(model, batches, mode == "split", live)

    run()
    for p in trained:
        p.grad = None
    before = resident(reset=True)
    run()
    peak_rss = resident() - before
    seconds = []
    for _ in range(cfg.memory.repeats):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    with LiveBytes() as live:
        held = run(live)
    return {
        "saved_bytes": held,
        "peak_bytes": live.peak,
        "peak_rss_bytes": peak_rss,
        "seconds": statistics.median(seconds),
        "losses": count,
        "trained_parameters": sum(p.numel() for p in trained),
        "gradient": torch.cat([p.grad.flatten() for p in adapter.parameters()]).double().cpu().numpy(),  # type: ignore[union-attr]
        "unet_parameters": sum(p.numel() for p in unet.parameters()),
    }


def compare(cfg: Config, base: Path, cache: Path) -> dict[str, Any]:
    """All modes, each in its own process, and the gradients' largest relative difference from `summed`."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["gillnext.memory.stage"])  # torch is imported once for all modes
    results: dict[str, dict[str, Any]] = {}
    for mode in MODES:
        with ProcessPoolExecutor(1, context) as process:  # a killed child raises, and does not keep us waiting
            result = results[mode] = process.submit(measure, cfg, mode, base, cache).result()
        print(f"{mode}: {result['saved_bytes'] / 2**20:.1f} MiB held, {result['seconds']:.2f} s", flush=True)
    gradients = {mode: result.pop("gradient") for mode, result in results.items()}
    reference = gradients["summed"]
    difference = {
        mode: float(np.linalg.norm(gradients[mode] - reference) / np.linalg.norm(reference))
        for mode in ("split", "checkpointed")
    }
    unet = results["single"]["unet_parameters"]
    for result in results.values():
        del result["unet_parameters"]
    return {
        "modes": results,
        "max_gradient_difference": difference,
        "parameters": {"adapter": results["single"]["trained_parameters"], "unet": unet},
        "batch": cfg.memory.batch,
        "threads": cfg.run.threads,
        "provenance": provenance.stamp(),
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("--base", type=Path, required=True, help="folder of the KolorsPipeline")
    parser.add_argument("--cache", type=Path, required=True, help="folder that `gillnext cache` wrote")
    add_out(parser, "JSON of bytes, seconds and gradient differences")


def main(args: argparse.Namespace) -> None:
    files.write_json(args.out, compare(config(args), args.base, args.cache))
