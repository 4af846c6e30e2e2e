"""Measure one training step under summed, split, accumulated and checkpointed backward, and under full fine-tuning.

    gillnext memory --config config.yaml --base results/demo/models/base --cache results/demo/cache \\
        --language results/demo/models/classifier --out results/demo/memory.json

Workloads (`workloads.py`): three UNet forwards, as the design notes assume for GILL's three losses (`modes` of the
file); three losses on one model of GILL's shape, of which one runs the UNet (`gill`); and these with GILL's own loss
for that one (`gill_l2`). `step.py` has the modes. Each mode runs in a process of its own. `saved_bytes` is what the
graph holds when the last forward before a backward has ended, `peak_bytes` the most that was alive, both over the
`static_bytes` of the weights. Seconds and resident memory are costs. `additivity` tells how far two halves of a batch
are from the whole in gradient, for two losses alone.

`memory.size: kolors` makes the first workload's UNet Kolors' own, on a GPU.
"""

from __future__ import annotations

import argparse
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from gillnext.config.arguments import add_config, add_out, config
from gillnext.config.model import Config
from gillnext.memory import kolors, workloads
from gillnext.memory.measure import TRACED, measure
from gillnext.memory.step import additivity, difference
from gillnext.memory.workloads import Folders
from gillnext.runtime import contents, files, provenance, training
from gillnext.runtime.errors import UserError

MODES = {
    "unet": ("single", "summed", "split", "accumulated", "checkpointed", "full"),
    "kolors": ("single", "summed", "split", "checkpointed", "full"),  # of a batch of one
    "gill": ("single", "summed", "split", "accumulated", "checkpointed"),
    "gill_l2": ("single", "summed", "split"),
}
WORK = {
    "unet": workloads.unet,
    "kolors": workloads.unet_at_kolors_size,
    "gill": workloads.gill,
    "gill_l2": workloads.gill_l2,
}
ADDITIVE = {"infonce": "retrieval", "denoising": "generation"}


def one_mode(cfg: Config, workload: str, mode: str, folders: Folders) -> dict[str, Any]:
    """A mode's measures, with the work's sizes; in a process of its own."""
    training.setup(cfg.run.threads, cfg.run.device)
    work = WORK[workload](cfg, mode, folders)
    result = {"sizes": work.sizes, "batch": work.batch, **measure(work, mode, cfg.memory.repeats)}
    if workload == "gill" and mode == "single":
        result["additivity"] = {name: additivity(work, task) for name, task in ADDITIVE.items()}
    return result


def compare(cfg: Config, workload: str, folders: Folders) -> dict[str, Any]:
    """All modes of a workload, and the relative difference of each gradient from `summed`."""
    gpu = cfg.run.device.startswith("cuda")
    context = multiprocessing.get_context("spawn" if gpu else "forkserver")  # CUDA starts in no process that was forked
    if not gpu:
        context.set_forkserver_preload(["gillnext.memory.preloaded"])  # torch is imported once for all modes
    modes: dict[str, dict[str, Any]] = {}
    for mode in MODES[workload]:
        with ProcessPoolExecutor(1, context) as process:  # a killed child raises, and does not keep us waiting
            result = modes[mode] = process.submit(one_mode, cfg, workload, mode, folders).result()
        print(
            f"{workload}, {mode}: {result['saved_bytes'] / 2**20:.1f} MiB held, {result['seconds']:.2f} s", flush=True
        )
    return gathered(modes)


def gathered(measured: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What the file holds of a workload, of the measures of its modes, `single` and `summed` among them."""
    modes = {mode: dict(result) for mode, result in measured.items()}
    gradients = {mode: result.pop("gradient") for mode, result in modes.items()}
    whole: dict[str, Any] = {
        "parameters": modes["single"]["sizes"],
        "batch": modes["single"]["batch"],
        "trace": {mode: modes[mode].pop("trace") for mode in TRACED if mode in modes},
        "max_gradient_difference": {
            mode: difference(gradients[mode], gradients["summed"])
            for mode in ("split", "accumulated", "checkpointed")
            if mode in gradients
        },
    }
    for key in ("tasks", "additivity"):
        if key in modes["single"]:
            whole[key] = modes["single"].pop(key)
    for result in modes.values():
        del result["sizes"], result["batch"]
    return {"modes": modes, **whole}


def report(cfg: Config, folders: Folders) -> dict[str, Any]:
    """What memory.json holds."""
    size = cfg.memory.size
    if size == "kolors":
        kolors.check(cfg.run.device)
    if cfg.memory.batch < 2:
        raise UserError(
            "a batch of one has no halves, and no other caption to tell apart",
            where=f"memory.batch: {cfg.memory.batch}",
            remedy="give 2 or more; Kolors' size takes 1 by itself",
        )
    gill = compare(cfg, "gill", folders)
    return {
        **compare(cfg, "unet" if size == "base" else "kolors", folders),
        "additivity": gill.pop("additivity"),
        "gill": gill,
        "gill_l2": compare(cfg, "gill_l2", folders),
        "size": size,
        "precision": cfg.run.precision if size == "kolors" else "no",
        "accounting": "torch.cuda" if cfg.run.device.startswith("cuda") else "live tensors",
        "threads": cfg.run.threads,
        "seed": cfg.run.seed,
        "hashes": {name: contents.sha256(folder) for name, folder in folders.named().items()},
        "provenance": provenance.stamp(),
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("--base", type=Path, required=True, help="folder of the base, a Kolors or SDXL pipeline")
    parser.add_argument("--cache", type=Path, nargs="+", required=True, help="folders that `gillnext cache` wrote")
    parser.add_argument("--language", type=Path, required=True, help="folder of the frozen causal LM")
    add_out(parser, "JSON of bytes, seconds and gradient differences")


def main(args: argparse.Namespace) -> None:
    files.write_json(args.out, report(config(args), Folders(args.base, tuple(args.cache), args.language)))
