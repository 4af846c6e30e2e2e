"""Train InstructPix2Pix over the frames of clips, through accelerate.

    gillnext pix2pix --config config.yaml --latents results/demo/supplement/latents --base reference/models/base \\
        --frames 20 --out results/demo/supplement/pix2pix/20

The base is a text-to-image pipeline (Kolors, Stable Diffusion), one that diffusers' `train_instruct_pix2pix` saved, or
one of ours; its UNet is grown to the last `--frames` frames of a clip, and all of it is trained. OUT is a pipeline's
folder with the averaged weights (`FramesPipeline.from_pretrained`), with training.json, losses.json and what the
tracker wrote.

`accelerate launch --multi_gpu --num_processes 2 -m gillnext.cli pix2pix …` shares every batch between two processes, on
the CPU as well where `run.device` is cpu. So does `--processes 2`, or the variable VIDEO_TRAIN_PROCESSES, without a
launcher. A killed run goes on from its newest checkpoint to the same weights.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import shutil
from pathlib import Path
from typing import Any

import torch

from gillnext.config.arguments import add_config, add_out, config
from gillnext.config.model import Config
from gillnext.frames import launch
from gillnext.frames.latents import Latents
from gillnext.frames.loading import load
from gillnext.frames.trainer import Trainer, accelerator
from gillnext.runtime import contents, files, provenance, seeds, training
from gillnext.runtime.errors import UserError
from gillnext.runtime.progress import Progress

TOLD = ("loss", "gradient_norm")  # of the history, in losses.json


def build(cfg: Config, latents: Path, base: Path, frames: int, work: Path) -> Trainer:
    """The trainer of a grown, untrained model."""
    split = Latents(latents, "train")
    if not 1 <= frames <= split.about["count"]:
        what = f"{frames} frames of clips that have {split.about['count']}"
        raise UserError(what, where="--frames", remedy=f"1 to {split.about['count']}")
    torch.manual_seed(seeds.key("frames", cfg.run.seed))
    pipeline = load(base, frames, scaled=cfg.frames.training.scaled)
    shape = (pipeline.unet.config.out_channels, pipeline.unet.config.sample_size)
    if shape != (split.shards[0]["target"].shape[2], split.shards[0]["target"].shape[-1]):
        raise UserError("the latents are another base's", where=str(latents), remedy="gillnext latents with this base")
    return Trainer(cfg, pipeline, split, accelerator(cfg, work))


def validated(trainer: Trainer, latents: Path, step: int) -> None:
    """Draw validation pictures and hand them to the tracker; of the main process alone."""
    every = trainer.settings.validate_every
    if not every or step % every or not trainer.accelerator.is_main_process:
        return
    split = Latents(latents, "val")
    rows, error = trainer.validate(split)
    trainer.accelerator.log({"validation_error": error}, step=step)
    for tracker in trainer.accelerator.trackers:
        more: dict[str, Any] = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}
        tracker.log_images({"validation": rows}, step=step, **more)
    trainer.accelerator.print(f"step {step}: mean absolute error of {len(rows)} validation targets {error:.2f} of 255")


def run(trainer: Trainer, identity: str, latents: Path, work: Path) -> list[dict[str, float]]:
    """Train to the end, from the newest checkpoint of this identity if there is one; returns every step's history."""
    settings, main = trainer.settings, trainer.accelerator.is_main_process
    first = training.load_state(work / "checkpoint", identity=identity, **trainer.state())
    history = files.read_json(work / "history.json")[:first] if first else []
    if first:
        trainer.accelerator.print(f"resuming at step {first}")
    elif main:  # what another run left there is not this one's
        shutil.rmtree(work / settings.tracker, ignore_errors=True)
    trainer.accelerator.init_trackers(settings.tracker)
    with Progress("pix2pix", settings.steps, "steps", first, 60.0 if main else math.inf) as progress:
        for t in range(first, settings.steps):
            row = trainer.step(t)
            history.append(row)
            trainer.accelerator.log(row, step=t + 1)
            progress.step(loss=row["loss"])
            validated(trainer, latents, t + 1)
            every = settings.checkpoint_every
            if main and every and (t + 1) % every == 0 and t + 1 < settings.steps:
                files.write_json(work / "history.json", history)
                training.save_state(work / "checkpoint", t + 1, identity=identity, **trainer.state())
    trainer.accelerator.wait_for_everyone()  # before the process group ends
    trainer.accelerator.end_training()
    return history


def write(trainer: Trainer, out: Path, base: Path, told: dict[str, Any], history: list[dict[str, float]]) -> None:
    """Write the pipeline with the averaged weights into the folder `out`."""
    trainer.averaged()
    trained = trainer.pipeline.unet.to("cpu", memory_format=torch.contiguous_format)
    whole = load(base, trainer.pipeline.frames, scaled=trainer.settings.scaled)
    whole.unet.to(memory_format=torch.contiguous_format).load_state_dict(trained.state_dict())
    whole.save_pretrained(out, safe_serialization=True)
    files.write_json(out / "losses.json", {name: [round(row[name], 6) for row in history] for name in TOLD})
    files.write_json(out / "training.json", told)


def train(cfg: Config, latents: Path, base: Path, frames: int, out: Path) -> None:
    """Train and write the pipeline's folder `out`."""
    training.setup(cfg.run.threads, cfg.run.device)
    work = out.with_name(out.name + ".work")
    work.mkdir(parents=True, exist_ok=True)
    trainer = build(cfg, latents, base, frames, work)
    hashes = {"latents": contents.sha256(latents), "base": contents.sha256(base)}
    settings = [dataclasses.asdict(part) for part in (cfg.run, cfg.frames.training)]
    processes = trainer.accelerator.num_processes
    identity = provenance.fingerprint(settings, frames, hashes, processes, code=["gillnext.frames.train"])
    history = run(trainer, identity, latents, work)
    if not trainer.accelerator.is_main_process:
        return
    told = {
        "frames": frames, "channels": trainer.pipeline.unet.config.in_channels, "scaled": cfg.frames.training.scaled,
        "steps": cfg.frames.training.steps, "clips": len(trainer.examples.latents), "processes": processes,
        "precision": cfg.run.precision, "seed": cfg.run.seed, "parameters": sum(p.numel() for p in trainer.parameters),
        "skipped": int(sum(row.get("skipped", 0) for row in history)), "hashes": hashes,
        "provenance": provenance.stamp(),
    }  # fmt: skip
    with files.atomic(out) as temporary:
        temporary.mkdir()
        write(trainer, temporary, base, told, history)
        if (work / cfg.frames.training.tracker).exists():
            shutil.copytree(work / cfg.frames.training.tracker, temporary / cfg.frames.training.tracker)
    shutil.rmtree(work, ignore_errors=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("--latents", type=Path, required=True, metavar="DIR", help="of `gillnext latents`")
    parser.add_argument("--base", type=Path, required=True, metavar="DIR", help="pipeline that is grown and trained")
    parser.add_argument("--frames", type=int, help="last frames of a clip that are read (default: frames.count)")
    parser.add_argument(
        "--processes", type=int, help=f"processes that share every batch (default: {launch.VARIABLE}, else 1)"
    )
    add_out(parser, "folder of the trained pipeline")


def main(args: argparse.Namespace) -> None:
    cfg = config(args)
    frames = args.frames or cfg.frames.count
    launch.start(train, (cfg, args.latents, args.base, frames, args.out), launch.processes(args.processes))
