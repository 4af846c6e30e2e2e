"""Compares a run with the kept one of its tier: pass or fail for each claim, and every number with its tolerance.

    gillnext verify --results results/demo --reference reference/demo --out results/demo/verify

A claim passes where both runs give it the same verdict and every number behind it lies within its tolerance (see
`gillnext.verify.tolerance`). It is undecided where the numbers agree and the seeds of one run alone decide it: like
runs do that often where an effect is small, so it is no failure, and no pass. Below the claims, a row for the main
tables' numbers of each arm, and for those of the ceilings, the planner and the data, passes where no more lie outside
than chance leaves in 95 of 100 runs with seeds of their own, were the numbers independent. Writes
`{verify,numbers}.{csv,json,tex}`. `--strict` ends with status 1 where a row fails."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from scipy import special

from gillnext.claims.stage import Claim, judge, read_claims
from gillnext.claims.verdicts import Number, Word, in_print
from gillnext.config import arguments
from gillnext.config.load import load
from gillnext.config.model import Config
from gillnext.runtime import files
from gillnext.runtime.errors import UserError
from gillnext.tables.collect import Results
from gillnext.tables.statistics import Spread, spread
from gillnext.tables.table import write
from gillnext.verify import kept, report
from gillnext.verify.measured import ARM, groups
from gillnext.verify.report import Row
from gillnext.verify.tolerance import Comparison, compare

PASS, FAIL, UNDECIDED, NEITHER = "pass", "FAIL", "undecided", "not compared"


Spreads = dict[str, Spread]  # of a metric, over the seeds of all arms that have several


def paired_numbers(
    mine: Sequence[Number], theirs: Sequence[Number], spreads: Spreads | None = None
) -> tuple[Comparison, ...]:
    """The numbers that both runs have, by name."""
    known = {number.name: number for number in theirs}
    return tuple(
        compare(number, known[number.name], (spreads or {}).get(number.metric))
        for number in mine
        if number.name in known
    )


def spreads_of(arms: Iterable[Sequence[Number]]) -> Spreads:
    """What the arms' seeds say of each metric's spread, together."""
    values: dict[str, list[tuple[float, ...]]] = {}
    for numbers in arms:
        for number in numbers:
            values.setdefault(number.metric, []).append(number.values)
    return {metric: spread(groups) for metric, groups in values.items()}


def verify_claim(claim: Claim, mine: Results, theirs: Results) -> Row:
    """One claim in both runs."""
    tier = mine.config.run.tier
    here, there = judge(claim, mine), judge(claim, theirs)
    verdicts = in_print(here.word, tier), in_print(there.word, tier)
    if Word.NOT_HERE in (here.word, there.word):
        return Row(claim.id, claim.claim, NEITHER, verdicts, why=here.reason)
    for verdict, which in ((here, "this run"), (there, "the kept run")):
        if verdict.word == Word.NOT_RUN:
            return Row(claim.id, claim.claim, NEITHER, verdicts, why=f"{which}: {verdict.reason}")
    numbers = paired_numbers(here.numbers, there.numbers)
    if {n.name for n in here.numbers} != {n.name for n in there.numbers}:
        return Row(claim.id, claim.claim, NEITHER, verdicts, numbers, "the two runs tell it by other arms or modes")
    why = [f"{verdicts[0]} here, {verdicts[1]} in the kept run"] if here.word != there.word else []
    why += [report.outside(number) for number in numbers if not number.within]
    result = FAIL if why else PASS
    if Word.NOT_SHOWN in (here.word, there.word) and here.word != there.word and len(why) == 1:
        result = UNDECIDED
    return Row(claim.id, claim.claim, result, verdicts, numbers, "; ".join(why))


def verify_group(group: str, mine: list[Number], theirs: list[Number], spreads: Spreads) -> Row:
    """The main tables' numbers of one arm, or of another part of both runs."""
    numbers = paired_numbers(mine, theirs, spreads if group.startswith(ARM) else None)
    outside = [number for number in numbers if not number.within]
    most = allowed(len(numbers))
    what = f"{group}: numbers of the main tables, at most {most} outside"
    result = FAIL if len(outside) > most else PASS
    names, kept_names = ({number.name for number in of_run} for of_run in (mine, theirs))
    lacking = [(names - kept_names, "the kept run has no"), (kept_names - names, "this run has no")]
    told = [f"{which} {', '.join(sorted(gone))}" for gone, which in lacking if gone]
    if told and result == PASS:
        result = NEITHER
    return Row("", what, result, numbers=numbers, why="; ".join([*told, *map(report.outside, outside)]))


def allowed(n: int) -> int:
    """The 0.95 quantile of how many of `n` independent 95% intervals miss."""
    return next(k for k in range(n + 1) if special.bdtr(k, n, 0.05) >= 0.95)


def common_arms(mine: Config, theirs: Config) -> tuple[list[str], list[str]]:
    """Arms that both runs have with the same settings, but for how many seeds; and a note on each of the others."""
    ours, others = (
        {name: dataclasses.replace(arm, seeds=0) for name, arm in config.study.arms.items()}
        for config in (mine, theirs)
    )
    common = [name for name, arm in ours.items() if others.get(name) == arm]
    told = [f"arm {name}: in this run only" for name in ours if name not in others]
    told += [f"arm {name}: in the kept run only" for name in others if name not in ours]
    told += [f"arm {name}: other settings in the two runs" for name in ours if name in others and name not in common]
    return common, told


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    return {k: v for name, part in value.items() for k, v in _flat(part, f"{prefix}.{name}".lstrip(".")).items()}


def other_settings(mine: Config, theirs: Config) -> list[str]:
    """`key: here, kept` of every setting but the arms' that is not the same."""
    here, there = (_flat(dataclasses.asdict(config)) for config in (mine, theirs))
    keys = [key for key in here | there if not key.startswith(("study.arms.", "study.subset", "from_reference"))]
    return [f"{k}: {here.get(k)} here, {there.get(k)} kept" for k in keys if here.get(k) != there.get(k)]


def notes(mine: Config, theirs: Config, told: list[str], rows: list[Row]) -> list[str]:
    """What a reader of the tables must know."""
    found = [
        "Tolerance: the 95% prediction interval for the mean of this run's seeds, from the kept run's spread over "
        "seeds (of an arm with one seed: over the other arms' seeds; items: of a share counted over that many), and at "
        "least a floor. Each run has one base: the spread over bases is in neither."
    ]
    if seeds := sum("seeds" in n.basis for row in rows for n in row.numbers):
        found.append(
            f"A run like the kept one, with seeds of its own, leaves about {0.05 * seeds:.1f} of {seeds} outside."
        )
    if settings := other_settings(mine, theirs):
        found.append(f"Settings that are not the kept run's: {'; '.join(settings)}.")
    return found + ([f"Not compared: {'; '.join(told)}."] if told else [])


def _results(root: Path) -> Results:
    if not (root / "config.json").exists():
        raise UserError("no config.json in it", where=str(root), remedy="run the workflow to its end first")
    return Results(root, load(root / "config.json"))


def verify(root: Path, reference: Path, claims: Path, out: Path) -> tuple[list[Row], list[str]]:
    """Compare the results folder `root` with the kept run in `reference`; write the tables; returns rows and notes."""
    kept.check(reference)
    mine, theirs = _results(root), _results(reference)
    if mine.config.run.tier != theirs.config.run.tier:
        what = f"this run is of tier {mine.config.run.tier!r}, the kept one of {theirs.config.run.tier!r}"
        raise UserError(what, where=str(reference), remedy="name the kept run of the same tier")
    arms, told = common_arms(mine.config, theirs.config)
    rows = [verify_claim(claim, mine, theirs) for claim in read_claims(claims)]
    here, there = groups(mine, arms), groups(theirs, arms)
    spreads = spreads_of(numbers for group, numbers in there.items() if group.startswith(ARM))
    rows += [verify_group(group, here[group], there[group], spreads) for group in here]
    said = notes(mine.config, theirs.config, told, rows)
    with files.atomic(out) as folder:
        folder.mkdir()
        write(folder, [report.rows_table(rows, said), report.numbers_table(rows, said)])
    return rows, said


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--results", type=Path, required=True, metavar="FOLDER", help="results/{tier} of this run")
    parser.add_argument("--reference", type=Path, required=True, metavar="FOLDER", help="reference/{tier}: a kept run")
    parser.add_argument("--claims", type=Path, default=Path("reference/claims.yaml"), metavar="FILE")
    parser.add_argument("--strict", action="store_true", help="end with status 1 where a row fails")
    arguments.add_out(parser, "folder of the tables")


def main(args: argparse.Namespace) -> None:
    rows, said = verify(args.results, args.reference, args.claims, args.out)
    print(report.terminal(rows, said))
    if args.strict and any(row.result == FAIL for row in rows):
        raise SystemExit(1)
