"""Adds the numbers of a whole run, finished or kept, to the table of its tier's runs.

    gillnext runs --add reference/demo --name first --out reference/runs/demo.csv

A row a number: those of the main tables, those behind the claims, and what the bars measure, each the mean over seeds.
A run of that name that the table has is replaced. The table is of one tier and one state of its settings: begin it anew
when they change."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path

from gillnext.claims.stage import Claim, judge, read_claims
from gillnext.claims.verdicts import Number
from gillnext.config import arguments
from gillnext.config.load import settings_of
from gillnext.record.results import Results
from gillnext.runtime import files
from gillnext.runtime.errors import UserError
from gillnext.tables import bars
from gillnext.tables.runs import Row, read_rows, text
from gillnext.verify.hashes import made_by, one
from gillnext.verify.measured import groups


def mean(number: Number) -> float:
    return math.fsum(number.values) / len(number.values)


def of_claim(claim: Claim, number: Number) -> str:
    """A number's name in the table: claims call different things alike."""
    return f"{claim.id}: {number.name}"


def numbers(results: Results, claims: list[Claim]) -> Iterator[tuple[str, str, float]]:
    """(name, metric, value) of every number that is compared between runs, and of every bar."""
    for group in groups(results, list(results.config.study.arms)).values():
        yield from ((number.name, number.metric, mean(number)) for number in group)
    for claim in claims:
        for number in judge(claim, results).numbers:
            yield of_claim(claim, number), number.metric, mean(number)
    for bar in bars.of_tier(results):
        if not bar.apart:
            yield bars.in_table(bar), bar.key, bar.measure(results).mean


def values(results: Results, claims: list[Claim]) -> dict[str, float]:
    return {name: value for name, _, value in numbers(results, claims)}


def rows(results: Results, name: str, claims: list[Claim], processor: str = "") -> list[Row]:
    """The rows of one run; `processor` where its score files name none."""
    run, made = results.config.run, made_by(results)
    code = one(stamp.get("code") for stamp in results.stamps)
    machine = made["processor"] or processor or "unknown"
    made_as = made["arithmetic"] or "fast", machine, run.threads, run.seed, code or "unknown"
    return [Row(name, *made_as, *number) for number in numbers(results, claims)]


def add(root: Path, name: str, claims: Path, out: Path, processor: str = "") -> list[Row]:
    """Put the run in `root` into the table `out` as `name`; returns its rows."""
    if not (root / "config.json").exists():
        raise UserError("no config.json in it", where=str(root), remedy="name the folder of a finished or a kept run")
    results = Results(root, settings_of(root))
    if results.config.run.tier != out.stem:
        remedy = f"--out {out.with_name(f'{results.config.run.tier}.csv')}"
        raise UserError(f"a run of tier {results.config.run.tier!r}", where=str(out), remedy=remedy)
    others = [row for row in read_rows(out) if row.run != name] if out.exists() else []
    own = rows(results, name, read_claims(claims), processor)
    files.write_text(out, text([*others, *own]))
    return own


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--add", type=Path, required=True, metavar="FOLDER", help="results/{tier}, or a kept run")
    parser.add_argument("--name", required=True, help="what the run is called in the table")
    parser.add_argument("--claims", type=Path, default=Path("reference/claims.yaml"), metavar="FILE")
    parser.add_argument("--processor", default="", help="the machine's, where the run's score files do not tell it")
    arguments.add_out(parser, "the table, reference/runs/{tier}.csv; made where it is not there")


def main(args: argparse.Namespace) -> None:
    own = add(args.add, args.name, args.claims, args.out, args.processor)
    runs = {row.run for row in read_rows(args.out)}
    print(f"{args.out}: {len(own)} numbers of run {args.name!r}; {len(runs)} runs in all: {', '.join(sorted(runs))}")
