"""Plan layouts for held-out spatial captions and score the planner against random and retrieval baselines.

    gillnext plan --config config.yaml --planner models/planner --layouts heldout/relations.jsonl \\
        --train layouts/*.jsonl --out plans

Writes relations.jsonl (a plan for every caption, with the input's ids) and planner.json (scores of the first
`planner.test` of them). Boxes of the input serve for scoring only.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from gillnext import layouts
from gillnext.config import Config
from gillnext.config.arguments import add_config, add_out
from gillnext.config.arguments import config as read_config
from gillnext.layouts import Layout
from gillnext.planner import baselines, metrics
from gillnext.planner import format as plan_format
from gillnext.planner.model import Planner
from gillnext.planner.rows import Lines
from gillnext.runtime import contents, files, provenance, seeds, training
from gillnext.runtime.errors import UserError
from gillnext.statistics import wilson

KNOWN = 20_000  # training layouts that the baselines draw from at most, a seeded choice
SHARES = ("validity_unconstrained", "validity_constrained", "spatial_accuracy", "count_accuracy")  # of captions


def _layouts_of(paths: Sequence[Path], seed: int, most: int | None = None) -> list[Layout]:
    """The layouts with objects, in their order; of more than `most` (None: any) a choice."""
    found = Lines(paths, lambda layout: bool(layout.names))
    if not len(found):
        raise UserError("no layouts", where=", ".join(map(str, paths)), remedy="name layouts that hold objects")
    if most is None or len(found) <= most:
        return [found[i] for i in range(len(found))]
    return [found[int(i)] for i in np.sort(seeds.rng("baselines", seed).permutation(len(found))[:most])]


def evaluate(
    planner: Planner, answers: Sequence[str], truths: Sequence[Layout], train: Sequence[Layout], seed: int
) -> dict[str, float]:
    """Scores of constrained decoding (`answers`), of unconstrained decoding and of both baselines."""
    captions = [t.caption for t in truths]
    free = [plan_format.parse(a) for a in planner.answer(captions, constrained=False)]
    bound = [plan_format.parse(a) for a in answers]
    plans = [p.layout(c) if p.valid else None for p, c in zip(bound, captions, strict=True)]
    unconstrained = [p.layout(c) if p.valid else None for p, c in zip(free, captions, strict=True)]
    scores = {
        "validity_unconstrained": sum(p.valid for p in free) / len(free),
        "validity_constrained": sum(p.valid for p in bound) / len(bound),
        **metrics.score(plans, truths),
    }
    others: dict[str, Sequence[Layout | None]] = {
        "unconstrained": unconstrained,
        "random": baselines.random(truths, train, seed),
        "retrieval": baselines.retrieval(truths, train),
    }
    for name, found in others.items():
        scores |= {f"{name}_{key}": value for key, value in metrics.score(found, truths).items()}
    return scores


def run(config: Config, folder: Path, held_out: Path, train: Sequence[Path], out: Path) -> dict[str, float]:
    """Plan and score; returns the metrics."""
    training.setup(config.run.threads, config.run.device)
    truths, known = _layouts_of([held_out], config.run.seed), _layouts_of(train, config.run.seed, KNOWN)
    planner = Planner.from_pretrained(folder, config.run.device)
    answers = planner.answer([t.caption for t in truths])
    plans = [plan_format.parse(a).layout(t.caption) for a, t in zip(answers, truths, strict=True)]
    n = min(config.planner.test, len(truths))
    scores = evaluate(planner, answers[:n], truths[:n], known, config.run.seed)
    with files.atomic(out) as temporary:
        temporary.mkdir()
        named = (replace(plan, id=truth.id) for plan, truth in zip(plans, truths, strict=True))
        layouts.write(temporary / "relations.jsonl", named)
        report = {
            "name": "planner",
            "n": n,
            "seed": config.run.seed,
            "metrics": scores,
            "intervals": {name: wilson(value, n) for name, value in scores.items() if name.endswith(SHARES)},
            "protocol": {"decoding": "greedy", "relations": "box centres, no margin", "baselines_train": len(known)},
            "hashes": {"planner": contents.sha256(folder), "layouts": files.sha256(held_out)},
            "provenance": provenance.stamp(),
        }
        files.write_json(temporary / "planner.json", report)
    return scores


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("--planner", type=Path, required=True, metavar="FOLDER", help="planner folder")
    parser.add_argument("--layouts", type=Path, required=True, metavar="JSONL", help="held-out spatial layouts")
    parser.add_argument("--train", type=Path, nargs="+", required=True, metavar="JSONL", help="training layouts")
    add_out(parser, "folder of relations.jsonl and planner.json")


def main(args: argparse.Namespace) -> None:
    run(read_config(args), args.planner, args.layouts, args.train, args.out)
