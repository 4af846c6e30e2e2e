"""Train one arm of the spatial adapter on the frozen base, through accelerate.

    gillnext adapter --config config.yaml --arm attn2 --seed 0 --base results/demo/models/base \\
        --cache results/demo/cache --out results/demo/adapters/attn2/0

`accelerate launch --multi_gpu --num_processes 2 -m gillnext.cli adapter …` shares every batch between two processes, on
the CPU as well where `run.device` is cpu (accelerate's `--cpu` starts one process only). A killed run goes on from its
newest checkpoint to the same weights. Averaged weights are kept on the way (`snapshots.py`), for stage `curve`.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import shutil
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from diffusers import ModelMixin

from gillnext.adapter import card, snapshots
from gillnext.adapter.cache import Cache
from gillnext.adapter.pipeline import NO_TEXT, load
from gillnext.adapter.trainer import Trainer, arm_of
from gillnext.config.arguments import add_config, add_out, config
from gillnext.config.model import Arm, Config
from gillnext.runtime import files, provenance, training
from gillnext.runtime.progress import Progress

# Files of one number a step, and what of a step they hold.
HISTORIES = {
    "losses": "loss",
    "gradient_norms": "gradient_norm",
    "position_net_norms": "position_net_norm",
}


def _identity(cfg: Config, arm: Arm, seed: int, *made_from: Path) -> str:
    """What an interrupted run must agree with to be taken up: settings, and the files that it learns from, by size and
    time of change, as they may be hundreds of gigabytes.
    """
    same = dataclasses.replace(cfg.adapter, prefetch=0, timeout=0.0)  # whatever these are
    settings = [dataclasses.asdict(part) for part in (cfg.run, same, arm)]
    found = [(folder, file, file.stat()) for folder in made_from for file in sorted(folder.rglob("*"))]
    read = [[str(file.relative_to(folder)), about.st_size, about.st_mtime_ns] for folder, file, about in found]
    return provenance.fingerprint(*settings, seed, list(HISTORIES), read, code=["gillnext.adapter.train"])


def run(
    trainer: Trainer, identity: str, work: Path
) -> tuple[list[dict[str, float | None]], dict[str, ModelMixin], dict[str, Any]]:
    """Train to the end, from the newest checkpoint of this identity if there is one; returns every step's history,
    what was trained (`Trainer.finished`), and what it cost (`Trainer.gpu`).
    """
    print_main, main = trainer.accelerator.print, trainer.accelerator.is_main_process
    first = training.load_state(work / "checkpoint", identity=identity, **trainer.state())
    history = files.read_json(work / "history.json")[:first] if first else []
    if first:
        print_main(f"resuming at step {first}")
    elif main:  # what another run left there is not this one's
        (work / "history.json").unlink(missing_ok=True)
        for old in ("tensorboard", snapshots.FOLDER):
            shutil.rmtree(work / old, ignore_errors=True)
    trainer.accelerator.init_trackers("tensorboard")
    every = trainer.settings.checkpoint_every
    shots = snapshots.due(trainer.settings.snapshot_every, trainer.settings.steps, trainer.steps)
    every_minute = 60.0 if main else math.inf
    with Progress("adapter", trainer.steps, "steps", first, every_minute) as progress, closing(trainer.drawn):
        for t in range(first, trainer.steps):
            row = trainer.step(t)
            history.append(row)
            trainer.accelerator.log({key: value for key, value in row.items() if value is not None}, step=t + 1)
            progress.step(loss=row["loss"] or 0.0)
            if t + 1 in shots:
                models = trainer.finished()
                if main:
                    with files.atomic(snapshots.place(work, t + 1)) as folder:
                        snapshots.write(folder, models)
            if every and (t + 1) % every == 0 and t + 1 < trainer.steps and (main or trainer.sharded):
                if main:
                    files.write_json(work / "history.json", history)
                training.save_state(work / "checkpoint", t + 1, identity=identity, write=main, **trainer.state())
    models, cost = trainer.finished(), trainer.gpu()
    trainer.accelerator.wait_for_everyone()  # before the process group ends
    trainer.accelerator.end_training()
    return history, models, cost


def train(cfg: Config, arm_name: str, seed: int, base: Path, caches: Sequence[Path], out: Path) -> None:
    """Train the arm and write `out`: adapter weights and config (and the UNet, where the arm trains it), snapshots,
    losses, processors.txt, tensorboard.
    """
    arm = arm_of(cfg, arm_name)
    training.setup(cfg.run.threads, cfg.run.device)
    work = out.with_name(out.name + ".work")
    work.mkdir(parents=True, exist_ok=True)
    pipeline = load(base, **NO_TEXT)  # the cache has the states of captions
    cache = Cache.load(*caches)
    cache.check(pipeline.unet.config)
    trainer = Trainer(cfg, arm, seed, pipeline, cache, out)
    trainer.accelerator.print(trainer.listing)
    history, models, cost = run(trainer, _identity(cfg, arm, seed, base, *caches), work)
    if not trainer.accelerator.is_main_process:
        return
    with files.atomic(out) as temporary:
        snapshots.write(temporary, models)
        files.write_text(temporary / "processors.txt", trainer.listing)
        for name, key in HISTORIES.items():
            values = [row[key] for row in history]
            files.write_json(temporary / f"{name}.json", [v if v is None else round(v, 6) for v in values])
        stamp: dict[str, Any] = {"arm": arm_name, "seed": seed, "steps": trainer.steps}
        stamp |= {"processes": trainer.accelerator.num_processes}
        if trainer.accelerator.scaler:
            stamp |= {"skipped": sum(row["skipped"] or 0 for row in history)}
        stamp |= {"parameters": sum(p.numel() for p in trainer.parameters), "provenance": provenance.stamp(), **cost}
        files.write_json(temporary / "training.json", stamp)
        card.write(temporary, cfg, arm, base, pipeline)
        for made in ("tensorboard", snapshots.FOLDER):
            if (work / made).exists():
                shutil.copytree(work / made, temporary / made)
    shutil.rmtree(work, ignore_errors=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("--arm", required=True, help="a row of study.arms")
    parser.add_argument("--seed", type=int, required=True, help="training seed")
    parser.add_argument("--base", type=Path, required=True, help="folder of the base, a Kolors or SDXL pipeline")
    parser.add_argument("--cache", type=Path, nargs="+", required=True, help="folders that `gillnext cache` wrote")
    add_out(parser, "folder of the adapter")


def main(args: argparse.Namespace) -> None:
    train(config(args), args.arm, args.seed, args.base, args.cache, args.out)
