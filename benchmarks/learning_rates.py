"""Learning rates of the arms, tuned with equal effort: the same grid for each, on validation layouts.

Every arm is trained with a seed that the study does not use, at each rate of the grid about its own or
`adapter.lr`, and at one more where the best lies at an end of the grid. What counts is box fidelity on validation
layouts at the end; where boxes are followed at no rate, the training loss. Prints a table and writes JSON; the chosen
rates go into the rows of config.yaml. The 64 validation layouts of the demo tell rates apart by 0.04; `--val` takes
more, of a world with another `run.seed`.

    python benchmarks/learning_rates.py --config config.yaml config/study.yaml --results results/study \\
        --out learning_rates.json
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from gillnext import layouts
from gillnext.adapter import train
from gillnext.config.load import load
from gillnext.config.model import Config
from gillnext.curve import stage as curve
from gillnext.instruments import evaluators
from gillnext.runtime import files
from gillnext.tables.onset import LEVEL

SEED = 100  # not one of the study's
GRID = (0.4, 1.0, 2.0)  # times the arm's rate
ARMS = ("attn1", "attn2", "both", "gated", "attn1-box", "attn2-box", "attn1-none", "attn2-none", "full")
ENDS = {end: end**2 for end in (GRID[0], GRID[-1])}  # what is tried beyond an end of the grid
STEPS = 400  # at most, so that every arm gets the same effort


def trial(cfg: Config, results: Path, val: Path, arm: str, factor: float) -> dict[str, Any]:
    """One training: its rate, the validation scores at the end and the mean loss of the last tenth."""
    row = cfg.study.arms[arm]
    rate = factor * (row.unet_lr or (cfg.adapter.lr if row.lr is None else row.lr))
    steps = min(row.steps_of(cfg.adapter), STEPS)
    changed = {"unet_lr": rate} if row.unet_lr else {"lr": rate}
    row = dataclasses.replace(row, steps=steps, **changed)
    cfg = dataclasses.replace(
        cfg,
        adapter=dataclasses.replace(cfg.adapter, snapshot_every=None),
        curve=dataclasses.replace(cfg.curve, images=len(layouts.read(val))),
        study=dataclasses.replace(cfg.study, arms=cfg.study.arms | {arm: row}),
    )
    with tempfile.TemporaryDirectory() as folder:
        out, models = Path(folder) / "adapter", results / "models"
        train.train(cfg, arm, SEED, models / "base", sorted(results.glob("cache/*")), out)
        losses, rows = files.read_json(out / "losses.json"), layouts.read(val)
        evaluator = evaluators.load(models / "evaluator", cfg.run.device)
        point = curve.point(steps, curve.draw(cfg, arm, models / "base", out, rows), rows, evaluator, cfg.sample.batch)
    tenth = statistics.fmean(losses[-max(len(losses) // 10, 1) :])
    return {"arm": arm, "factor": factor, "rate": rate, "steps": steps, "loss": round(tenth, 5)} | {
        key: point[key] for key in ("success50", "miou")
    }


def best(trials: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Highest mIoU where boxes are followed at any rate, else the lowest training loss."""
    followed = max(t["success50"] for t in trials) >= LEVEL
    return max(trials, key=lambda t: t["miou"]) if followed else min(trials, key=lambda t: t["loss"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, nargs="+", default=[Path("config.yaml"), Path("config/study.yaml")])
    parser.add_argument(
        "--results", type=Path, default=Path("results/study"), help="base, cache and evaluator of a run"
    )
    parser.add_argument("--val", type=Path, help="validation layouts; without it, those of the run")
    parser.add_argument("--arms", nargs="+", default=list(ARMS))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("learning_rates.json"))
    args = parser.parse_args()
    cfg, val = load(*args.config), args.val or args.results / "world/heldout/val.jsonl"
    found: list[dict[str, Any]] = []

    def chosen(arm: str) -> dict[str, Any]:
        return best([t for t in found if t["arm"] == arm])

    def run(pool: ProcessPoolExecutor, wanted: list[tuple[str, float]]) -> None:
        for job in [pool.submit(trial, cfg, args.results, val, *one) for one in wanted]:
            found.append(job.result())
            print("{arm:<12} {rate:<8g} loss {loss:.4f}  success {success50:.3f}  mIoU {miou:.3f}".format(**found[-1]))
            files.write_json(args.out, found)

    with ProcessPoolExecutor(args.processes) as pool:
        run(pool, [(arm, factor) for arm in args.arms for factor in GRID])
        factors = {arm: chosen(arm)["factor"] for arm in args.arms}
        run(pool, [(arm, ENDS[factor]) for arm, factor in factors.items() if factor in ENDS])
    for arm in args.arms:
        print(f"{arm}: {chosen(arm)['rate']:g}")


if __name__ == "__main__":
    main()
