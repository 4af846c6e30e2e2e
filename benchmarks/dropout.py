"""What samples without grounding lose in training: their boxes alone, or their caption too.

Guidance's negative has neither. Trains both arms on a finished run's base with the same seeds, draws the same
validation layouts at several guidance scales, and prints box fidelity of each and the paired difference. The arm that
validation prefers is the default of `Arm.drop_caption`; docs/adapter.md has the figures.

    python benchmarks/dropout.py --results results/demo --out dropout.json
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

from gillnext.adapter import train
from gillnext.config.load import load
from gillnext.config.model import Config
from gillnext.curve import stage as curve
from gillnext.instruments import evaluators
from gillnext.miniatures.world import heldout
from gillnext.runtime import files
from gillnext.statistics import differences, estimate
from gillnext.tables.table import number, signed

ARM, METRICS = "attn2", ("success50", "miou")


def trial(cfg: Config, results: Path, joint: bool, seed: int, scales: list[float], count: int) -> list[dict[str, Any]]:
    """One training and its validation scores at every scale."""
    arm = dataclasses.replace(cfg.study.arms[ARM], drop_caption=joint)
    cfg = dataclasses.replace(
        cfg,
        adapter=dataclasses.replace(cfg.adapter, snapshot_every=None),
        study=dataclasses.replace(cfg.study, arms=cfg.study.arms | {ARM: arm}),
    )
    rows, models, found = heldout.make(cfg.run.seed, "val", count), results / "models", []
    with tempfile.TemporaryDirectory() as folder:
        adapter = Path(folder) / "adapter"
        train.train(cfg, ARM, seed, models / "base", sorted(results.glob("cache/*")), adapter)
        evaluator = evaluators.load(models / "evaluator", cfg.run.device)
        for scale in scales:
            at = dataclasses.replace(cfg, sample=dataclasses.replace(cfg.sample, guidance=scale))
            images = curve.draw(at, ARM, models / "base", adapter, rows)
            point = curve.point(arm.steps_of(cfg.adapter), images, rows, evaluator, cfg.sample.batch)
            found.append({"joint": joint, "seed": seed, "guidance": scale} | {key: point[key] for key in METRICS})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, nargs="+", default=[Path("config.yaml")])
    parser.add_argument("--results", type=Path, default=Path("results/demo"), help="base, cache, evaluator of a run")
    parser.add_argument("--count", type=int, default=256, help="validation layouts")
    parser.add_argument("--guidance", type=float, nargs="+", default=[2.0, 3.0, 4.0, 5.0])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("dropout.json"))
    args = parser.parse_args()
    cfg = load(*args.config)
    with ProcessPoolExecutor(args.processes) as pool:
        jobs = [
            pool.submit(trial, cfg, args.results, joint, seed, args.guidance, args.count)
            for seed, joint in product(cfg.study.seeds_of(ARM), (False, True))
        ]
        found = [row for job in jobs for row in job.result()]
    files.write_json(args.out, found)
    for scale, metric in product(args.guidance, METRICS):
        boxes, both = (
            [row[metric] for row in found if row["guidance"] == scale and row["joint"] == joint]
            for joint in (False, True)
        )
        more = signed(estimate(differences(both, boxes))).text
        told = f"boxes alone {number(estimate(boxes)).text}, caption too {number(estimate(both)).text}, more by {more}"
        print(f"guidance {scale:g} {metric:<10} {told}")


if __name__ == "__main__":
    main()
