"""In which order boxes begin to be followed: the object is there, in its place, of its size.

Trains one arm on a finished run's base with a snapshot every few steps, draws the same validation layouts with each,
and prints shares of the requested boxes: an object of the name anywhere in the picture, one whose centre lies in the
box, one with an IoU of 0.5; and the mean loss of the steps before. docs/at-size.md has the figures.

    python benchmarks/onset.py --results results/demo --steps 120 --every 20
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gillnext.adapter import snapshots, train
from gillnext.boxes import iou
from gillnext.config.load import load
from gillnext.curve import stage as curve
from gillnext.instruments import evaluators
from gillnext.instruments.detections import Detections
from gillnext.layouts import Layout
from gillnext.miniatures.world import heldout
from gillnext.runtime import files

COLUMNS = ("there", "in its place", "IoU 0.5")


def shares(rows: Sequence[Layout], found: Sequence[Detections], classes: list[str]) -> list[float]:
    """Of the boxes of `rows`, in the order of COLUMNS."""
    told = []
    for row, one in zip(rows, found, strict=True):
        centres_M2 = (one.boxes[:, :2] + one.boxes[:, 2:]) / 2
        for name, box in zip(row.names, np.asarray(row.boxes), strict=True):
            own = one.labels == classes.index(name)
            inside = ((centres_M2 >= box[:2]) & (centres_M2 <= box[2:])).all(1)
            fills = iou(box[None], one.boxes)[0] >= 0.5
            told.append([own.any(), (own & inside).any(), (own & fills).any()])
    return np.mean(told, axis=0).tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, nargs="+", default=[Path("config.yaml")])
    parser.add_argument("--results", type=Path, default=Path("results/demo"), help="base, cache, evaluator of a run")
    parser.add_argument("--arm", default="attn2")
    parser.add_argument("--steps", type=int, default=120, help="the first of adapter.steps, by whose schedule they go")
    parser.add_argument("--every", type=int, default=20, help="steps between snapshots")
    parser.add_argument("--count", type=int, default=64, help="validation layouts")
    args = parser.parse_args()
    cfg = load(*args.config)
    arm = dataclasses.replace(cfg.study.arms[args.arm], steps=args.steps)
    cfg = dataclasses.replace(
        cfg,
        adapter=dataclasses.replace(cfg.adapter, snapshot_every=args.every),
        study=dataclasses.replace(cfg.study, arms=cfg.study.arms | {args.arm: arm}),
    )
    rows, models = heldout.make(cfg.run.seed, "val", args.count), args.results / "models"
    evaluator = evaluators.load(models / "evaluator", cfg.run.device)
    with tempfile.TemporaryDirectory() as folder:
        adapter = Path(folder) / "adapter"
        train.train(cfg, args.arm, 0, models / "base", sorted(args.results.glob("cache/*")), adapter)
        losses = files.read_json(adapter / "losses.json")
        print(f"| step | {' | '.join(COLUMNS)} | loss |\n{'|---' * (len(COLUMNS) + 2)}|", flush=True)
        for step, taken in snapshots.read(adapter).items():
            images = curve.draw(cfg, args.arm, models / "base", taken, rows)
            found = curve.confident(curve.detect(evaluator, images, rows, cfg.sample.batch), evaluator)
            numbers = [*shares(rows, found, evaluator.classes), float(np.mean(losses[step - args.every : step]))]
            print(f"| {step} | {' | '.join(f'{number:.2f}' for number in numbers)} |", flush=True)


if __name__ == "__main__":
    main()
