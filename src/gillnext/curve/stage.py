"""Draw and score validation layouts with every snapshot of an adapter: the box-following curve.

    gillnext curve --config config.yaml --arm attn2 --seed 0 --base results/demo/models/base \\
        --adapter results/demo/adapters/attn2/0 --val results/demo/world/heldout/val.jsonl \\
        --evaluator results/demo/models/evaluator --out results/demo/curves/attn2/0

Writes curve.json, a list of {step, n, miou, success50, wrong_class}, and tensorboard/ with the same and pictures. The
noise is the same for every point, arm and seed. A killed run keeps its finished points.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from gillnext import layouts
from gillnext.adapter import pipeline as grounded
from gillnext.adapter import snapshots
from gillnext.config.arguments import add_config, add_out, config
from gillnext.config.model import Config
from gillnext.instruments.detections import Detections, Detector, look
from gillnext.layouts import Layout
from gillnext.runtime import contents, files, provenance, training
from gillnext.runtime.progress import Progress
from gillnext.sample import sizes
from gillnext.sample.pictures_folder import dtype
from gillnext.sample.stage import pictures
from gillnext.score import models
from gillnext.score.boxes import fidelity
from gillnext.score.models import asked, confident

SHOWN = 8  # pictures of a point in tensorboard

Point = dict[str, Any]


def draw(cfg: Config, arm: str, base: Path, adapter: Path, rows: Sequence[Layout]) -> list[np.ndarray]:
    """Pictures (H, W, 3) uint8 of `rows` by one snapshot; the noise hangs on the row's place alone."""
    pipeline = grounded.load(base, adapter, cfg.run.device, dtype(cfg))
    wanted, drawn = sizes.wanted(rows, pipeline, cfg.sample.size), dict[int, np.ndarray]()
    for batch in sizes.batches(wanted, cfg.sample.batch):
        keys: list[tuple[str | int, ...]] = [("curve", cfg.run.seed, i) for i in batch]
        images = pictures(cfg, arm, pipeline, [rows[i] for i in batch], keys, wanted[batch[0]])
        drawn |= dict(zip(batch, (images * 255).round().astype(np.uint8), strict=True))
    return [drawn[i] for i in range(len(rows))]


def detect(evaluator: Detector, images: Sequence[np.ndarray], rows: Sequence[Layout], batch: int) -> list[Detections]:
    """Detections of pictures that may have different sizes, each asked for its layout's names; a detector gets those
    of one size together.
    """
    found = dict[int, Detections]()
    for group in sizes.batches([image.shape[:2] for image in images], len(images)):
        pixels, names = np.stack([images[i] for i in group]), [rows[i].names for i in group]
        found |= dict(zip(group, look(evaluator, pixels, names, batch), strict=True))
    return [found[i] for i in range(len(images))]


def point(step: int, images: Sequence[np.ndarray], rows: Sequence[Layout], evaluator: Detector, batch: int) -> Point:
    """The box fidelity of pictures that were drawn after `step` steps."""
    found = confident(detect(evaluator, images, rows, batch), evaluator)
    metrics = fidelity(asked(rows, evaluator), found, evaluator.classes)["metrics"]
    return {"step": step, "n": len(rows), **{name: round(value, 6) for name, value in metrics.items()}}


def sheet(images: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures (N, H, W, 3), smaller ones on white."""
    height, width = (max(image.shape[axis] for image in images) for axis in (0, 1))
    page = np.full((len(images), height, width, 3), 255, np.uint8)
    for place, image in zip(page, images, strict=True):
        place[: image.shape[0], : image.shape[1]] = image
    return page


def write_tensorboard(folder: Path, points: Sequence[Point], shown: Sequence[Sequence[np.ndarray]]) -> None:
    """Scalars of every point, and the first pictures of those that were drawn now."""
    with SummaryWriter(str(folder)) as writer:
        for one in points:
            for name in ("miou", "success50"):
                writer.add_scalar(f"validation/{name}", one[name], one["step"])
        for one, images in zip(points[len(points) - len(shown) :], shown, strict=True):
            writer.add_images("validation/pictures", sheet(images), one["step"], dataformats="NHWC")


def measure(
    cfg: Config,
    arm: str,
    seed: int,
    base: Path,
    adapter: Path,
    val: Path,
    evaluator: Path,
    out: Path,
    names: Path | None = None,
) -> list[Point]:
    """Write the curve of one adapter to the folder `out`; an adapter without snapshots has an empty one. `names`: file
    of those that an open evaluator is asked for.
    """
    training.setup(cfg.run.threads, cfg.run.device)
    taken, rows = snapshots.read(adapter), layouts.read(val)[: cfg.curve.images]
    model = models.evaluator(evaluator, cfg, names)
    work = out.with_name(out.name + ".work")
    settings = [dataclasses.asdict(part) for part in (cfg.run, cfg.guided, cfg.curve, cfg.study.arms[arm])]
    drawn = cfg.sample.steps, cfg.sample.guidance, cfg.sample.batch, cfg.sample.caption_grid, cfg.sample.size
    identity = provenance.fingerprint(
        *settings,
        drawn,
        seed,
        *map(contents.sha256, (base, adapter, val, evaluator, *([names] if names else []))),
        code=["gillnext.curve.stage"],
    )
    points: list[Point] = []
    if (work / "curve.json").exists() and (known := files.read_json(work / "curve.json"))["identity"] == identity:
        points = known["points"]
    shown = []
    with Progress("curve", len(taken), "points", start=len(points)) as progress:
        for step, folder in list(taken.items())[len(points) :]:
            images = draw(cfg, arm, base, folder, rows)
            points.append(point(step, images, rows, model, cfg.sample.batch))
            shown.append(images[:SHOWN])
            files.write_json(work / "curve.json", {"identity": identity, "points": points})
            progress.step()
    with files.atomic(out) as temporary:
        files.write_json(temporary / "curve.json", points)
        write_tensorboard(temporary / "tensorboard", points, shown)
    shutil.rmtree(work, ignore_errors=True)
    return points


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("--arm", required=True, help="a row of study.arms")
    parser.add_argument("--seed", type=int, required=True, help="training seed")
    parser.add_argument("--base", type=Path, required=True, help="folder of the base, a Kolors or SDXL pipeline")
    parser.add_argument("--adapter", type=Path, required=True, help="folder of the adapter, with its snapshots")
    parser.add_argument("--val", type=Path, required=True, help="validation layouts")
    parser.add_argument("--evaluator", type=Path, required=True, help="box evaluator")
    parser.add_argument("--names", type=Path, metavar="FILE", help="names, or their table, for an open evaluator")
    add_out(parser, "folder of the curve")


def main(args: argparse.Namespace) -> None:
    measure(config(args), args.arm, args.seed, args.base, args.adapter, args.val, args.evaluator, args.out, args.names)
