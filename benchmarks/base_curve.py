"""What the base alone shows of a caption's objects, over its training: checkpoints that were copied on the way.

    python benchmarks/base_curve.py --base results/foundations/models/base --states 400 1400 … --out curve.json

A checkpoint is the folder `models/base.work/checkpoint` of a running training (`gillnext base`), copied when it had so
many steps. Its averaged weights draw validation captions in 25 steps at guidance 5; both kept evaluators tell which of
a caption's objects a picture shows, wherever, and chance is the objects of the next caption.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from gillnext.runtime import arithmetic

arithmetic.begin()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from safetensors import safe_open  # noqa: E402

from gillnext.adapter import pipeline as grounded  # noqa: E402
from gillnext.instruments import evaluators  # noqa: E402
from gillnext.miniatures.world import heldout  # noqa: E402
from gillnext.runtime import files, machine, training  # noqa: E402
from gillnext.score.boxes import confident, requested, shown  # noqa: E402


def averaged(unet: torch.nn.Module, state: Path) -> int:
    """Lay a checkpoint's averaged weights into the UNet, whose parameters come first in it; returns its steps."""
    with safe_open(state / "state.safetensors", "pt") as tensors, torch.no_grad():
        for i, p in enumerate(unet.parameters()):
            p.copy_(tensors.get_tensor(f"ema.{i}"))
    return int(files.read_json(state / "state.json")["step"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True, help="the finished base, whose other parts draw")
    parser.add_argument("--states", type=Path, nargs="*", default=[], help="copied checkpoints")
    parser.add_argument("--models", type=Path, default=Path("reference/models"), help="folder of the evaluators")
    parser.add_argument("--captions", type=int, default=128)
    parser.add_argument("--seed", type=int, default=20260)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    training.setup(2)
    rows = heldout.naming(args.seed, "val", args.captions)
    pipeline = grounded.load(args.base)
    judges = {name: evaluators.load(args.models / name) for name in ("evaluator", "second_evaluator")}
    points = []
    for state in [*args.states, None]:
        step = averaged(pipeline.unet, state) if state else None
        if state is None:
            pipeline = grounded.load(args.base)
        images = np.concatenate(
            [
                pipeline.draw(
                    [row.caption for row in rows[i : i + 32]],
                    [],
                    keys=[("curve", i + k) for k in range(len(rows[i : i + 32]))],
                    steps=25,
                    guidance=5.0,
                )[0]
                for i in range(0, len(rows), 32)
            ]
        )
        pixels = (images * 255).round().astype(np.uint8)
        point: dict[str, object] = {"step": step, "captions": len(rows)}
        for name, judge in judges.items():
            wanted = [requested(row, judge.classes) for row in rows]
            found = [confident(one) for one in judge.detect(pixels, 32)]
            point[name] = {key: round(value, 4) for key, value in shown(wanted, found).items()}
        points.append(point)
        print(point, flush=True)
        files.write_json(args.out, {"processor": machine.processor(), "points": points})


if __name__ == "__main__":
    main()
