"""What instance-local attention does to box fidelity, by how many of the first steps are local.

Draws the same validation layouts with the adapters that a finished run has trained, at several shares of local steps,
and prints box fidelity, all and by overlap of the requested boxes, with the difference from no local step, paired by
seed. Shares that are the same number of steps are drawn once. The drawn world's boxes hardly overlap: `--crowded` puts
two layouts into each picture. docs/adapter.md has the figures.

    python benchmarks/local_attention.py --results results/demo --arms attn2 attn1 --out local_attention.json
"""

from __future__ import annotations

import argparse
import dataclasses
from itertools import product
from pathlib import Path
from typing import Any

from gillnext.adapter.local import steps_of
from gillnext.config.load import load
from gillnext.config.model import Config
from gillnext.curve import stage as curve
from gillnext.instruments import evaluators
from gillnext.layouts import Layout
from gillnext.miniatures.world import heldout
from gillnext.runtime import files, training
from gillnext.sample.painter import base_of
from gillnext.score.boxes import fidelity
from gillnext.score.models import asked, confident
from gillnext.score.strata import KINDS
from gillnext.statistics import estimate, paired
from gillnext.tables.table import number, signed

METRICS = {"success50": "success@0.5", "miou": "mIoU"}


def crowded(rows: list[Layout]) -> list[Layout]:
    """Each layout with the objects of the next one in front of its own."""
    pairs = zip(rows, [*rows[1:], rows[0]], strict=True)
    return [Layout(f"{a.caption}，{b.caption}", a.names + b.names, a.boxes + b.boxes) for a, b in pairs]


def scores(cfg: Config, arm: str, seed: int, share: float, results: Path, rows: list[Layout], judge: Any) -> Any:
    """Metric and stratum of overlap ("" for all) -> its value and number of boxes, of one arm and seed."""
    name, row = f"{arm}-local", dataclasses.replace(cfg.study.arms[arm], adapter=arm, local=share)
    cfg = dataclasses.replace(cfg, study=dataclasses.replace(cfg.study, arms={name: row}))
    images = curve.draw(cfg, name, base_of(cfg, results), results / "adapters" / arm / str(seed), rows)
    found = confident(curve.detect(judge, images, rows, cfg.sample.batch), judge)
    told = fidelity(asked(rows, judge), found, judge.classes)
    parts = {"": told["metrics"] | {"n": told["boxes"]}} | told["breakdown"]["overlap"]
    return {f"{metric} {part}".strip(): [of[metric], of["n"]] for part, of in parts.items() for metric in METRICS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, nargs="+", default=[Path("config.yaml")])
    parser.add_argument("--results", type=Path, default=Path("results/demo"), help="adapters and models of a run")
    parser.add_argument("--evaluator", type=Path, default=Path("reference/models/evaluator"))
    parser.add_argument("--arms", nargs="+", default=["attn2"], help="whose adapters draw")
    parser.add_argument("--local", type=float, nargs="+", default=[0.0, 0.25, 0.3333, 0.5, 1.0], help="0 among them")
    parser.add_argument("--steps", type=int, help="of the sampler (default: sample.steps)")
    parser.add_argument("--count", type=int, default=256, help="validation layouts")
    parser.add_argument("--crowded", action="store_true", help="two layouts in each picture")
    parser.add_argument("--out", type=Path, default=Path("local_attention.json"))
    args = parser.parse_args()
    cfg = load(*args.config)
    cfg = dataclasses.replace(cfg, sample=dataclasses.replace(cfg.sample, steps=args.steps or cfg.sample.steps))
    training.setup(cfg.run.threads, cfg.run.device)
    rows, judge = heldout.make(cfg.run.seed, "val", args.count), evaluators.load(args.evaluator, cfg.run.device)
    rows = crowded(rows) if args.crowded else rows
    shares = {steps_of(share, cfg.sample.steps): share for share in args.local}
    found: list[dict[str, Any]] = []
    for arm, seed in [(name, seed) for name in args.arms for seed in cfg.study.seeds_of(name)]:
        for local, share in shares.items():
            values = scores(cfg, arm, seed, share, args.results, rows, judge)
            found.append({"arm": arm, "seed": seed, "steps": cfg.sample.steps, "local": local, "scores": values})
            files.write_json(args.out, found)
    parts = [part for part in ["", *KINDS["overlap"].parts] if f"miou {part}".strip() in found[0]["scores"]]
    for arm, metric, part in product(args.arms, METRICS, parts):
        key = f"{metric} {part}".strip()
        of = {
            local: [row["scores"][key] for row in found if (row["arm"], row["local"]) == (arm, local)]
            for local in shares
        }
        values = {local: [value for value, _ in of[local]] for local in shares}
        print(f"{arm}, {METRICS[metric]}, overlap {part or 'any'}, {of[0][0][1]} boxes:")
        for local in shares:
            more = signed(paired(values[local], values[0])).text if local else ""
            print(f"    {local} of {cfg.sample.steps} steps local: {number(estimate(values[local])).text} {more}")


if __name__ == "__main__":
    main()
