"""How far a score moves with the training seed, with the noise that pictures begin from, and with the layouts.

    python benchmarks/variance.py --results results/seeds --out reference/measured/variance.json

Takes a run with many training seeds (config/seeds.yaml), draws its test layouts once more with other noise for every
adapter, and scores them. Several runs, each on another base (`models.base`), tell of the base too. Each arm's test
pictures of the run itself are those with the noise of its own seed. What was drawn is kept in results/TIER/variance, so
that a run which was stopped goes on. The file holds one row a set of pictures; `gillnext tables` makes the table of
components from it (docs/variance.md).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gillnext.config.load import settings_of
from gillnext.roles import sources
from gillnext.runtime import contents, files, machine
from gillnext.runtime.progress import Progress
from gillnext.statistics import resamples
from gillnext.tables.variance import DIFFERENCE

ARMS = ("attn1", "attn2")


class Drawn(NamedTuple):
    """A set of pictures of the test layouts: a run's adapter, and the seed of the noise."""

    run: Path
    arm: str
    seed: int
    noise: int

    @property
    def scores(self) -> Path:
        """Its score file: the run's own where the noise is that of the adapter's seed."""
        if self.noise == self.seed:
            return self.run / "scores" / self.arm / f"{self.seed}.json"
        return self.run / "variance" / self.arm / f"{self.seed}-{self.noise}.json"

    def commands(self) -> Iterator[list[str]]:
        """What draws and scores it."""
        pictures, world = str(self.scores.with_suffix("")), self.run / "world/heldout"
        adapter = str(self.run / "adapters" / self.arm / str(self.seed))
        common = ["--config", str(self.run / "config.json"), "--arm", self.arm, "--seed", str(self.noise)]
        models = {role: _model(self.run, role) for role in ("base", "evaluator", "second_evaluator")}
        yield [
            "sample", *common, "--base", models["base"], "--adapter", adapter,
            "--layouts", str(world / "test.jsonl"), "--out", pictures,
        ]  # fmt: skip
        yield [
            "score", "--boxes", *common, "--samples", pictures, "--evaluator", models["evaluator"],
            "--second-evaluator", models["second_evaluator"], "--prior", str(world / "prior.safetensors"),
            "--out", str(self.scores),
        ]  # fmt: skip

    def make(self) -> None:
        if not self.scores.exists():
            self.scores.parent.mkdir(parents=True, exist_ok=True)
            for command in self.commands():
                words = [sys.executable, "-m", "gillnext.cli", *command]
                subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def _model(run: Path, role: str) -> str:
    """The folder of a run's model: kept or given, or made by it."""
    source = sources.read(role, getattr(settings_of(run).models, role))
    return source.path or str(run / "models" / sources.ROLES[role].made)


def sets(run: Path, arms: list[str], adapters: int, noises: int) -> list[Drawn]:
    """Every adapter with its own noise and with that of seeds which no adapter has."""
    every = settings_of(run).study
    seeds = {arm: every.seeds_of(arm)[:adapters] for arm in arms}
    others = max(max(found) for found in seeds.values()) + 1
    return [
        Drawn(run, arm, seed, seed if k == 0 else others * k + seed)
        for arm in arms for seed in seeds[arm] for k in range(noises)
    ]  # fmt: skip


def deviations(found: list[dict[str, np.ndarray]]) -> dict[str, float]:
    """How far the mean over all these sets lies from that with other layouts: bootstrap over pictures."""
    boxes_N = found[0]["boxes"]
    weights_BN = resamples(len(boxes_N), "variance")
    of = {"success50": "hits", "miou": "iou"}
    sums = {metric: np.mean([of_picture[key] for of_picture in found], axis=0) for metric, key in of.items()}
    means = {metric: (weights_BN @ sum_N) / (weights_BN @ boxes_N) for metric, sum_N in sums.items()}
    return {metric: round(float(mean_B.std(ddof=1)), 6) for metric, mean_B in means.items()}


def over_layouts(scores: dict[str, list[dict[str, Any]]]) -> dict[str, dict[str, float]]:
    """`deviations` of each of two arms, and of the second less the first, set by set."""
    first, second = scores
    of = {
        arm: [
            {key: np.asarray(values, dtype=np.float64) for key, values in score["per_image"].items()} for score in found
        ]
        for arm, found in scores.items()
    }
    less = [
        {"boxes": b["boxes"], "hits": b["hits"] - a["hits"], "iou": b["iou"] - a["iou"]}
        for a, b in zip(of[first], of[second], strict=True)
    ]
    return {arm: deviations(found) for arm, found in of.items()} | {DIFFERENCE.format(second, first): deviations(less)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, nargs="+", required=True, help="a run on each base")
    parser.add_argument("--arms", nargs=2, default=list(ARMS))
    parser.add_argument("--adapters", type=int, default=20, help="training seeds of an arm")
    parser.add_argument("--noises", type=int, default=2, help="sets of pictures an adapter, the run's own among them")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    every = [one for run in args.results for one in sets(run, args.arms, args.adapters, args.noises)]
    with Progress("variance", len(every), "sets") as progress, ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(Drawn.make, every):
            progress.step(1)
    found = {one: files.read_json(one.scores) for one in every}
    by_arm = {arm: [found[one] for one in every if one.arm == arm] for arm in args.arms}
    bases = {run: contents.sha256(Path(_model(run, "base")))[:16] for run in args.results}
    rows = [
        {"base": bases[one.run], "arm": one.arm, "seed": one.seed, "noise": one.noise}
        | {key: found[one]["metrics"][key] for key in ("success50", "miou", "rules_success50")}
        for one in every
    ]
    images = len(by_arm[args.arms[0]][0]["per_image"]["boxes"])
    told = {"images": images, "layouts": over_layouts(by_arm), "rows": rows}
    files.write_json(args.out, told | {"processor": machine.processor()})


if __name__ == "__main__":
    main()
