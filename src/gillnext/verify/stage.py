"""Compares a run with the kept one of its tier: value by value where equal values are promised, else claim by claim.

    gillnext verify --results results/demo --reference reference/demo --runs reference/runs/demo.csv \\
        --out results/demo/verify

Portable arithmetic promises the same values on every processor to runs of the same settings, locks and code. The first
row says, by the hashes of both runs, whether they are; a stage that was promised equal and is not fails it.

Fast arithmetic promises no equal values: a difference is reported, and a failure only beyond the spread of the whole
runs at hand (`gillnext.verify.tolerance`), of which two are needed at least. A claim passes where both runs give it the
same verdict and no number behind it lies outside; another verdict is undecided unless a number lies outside. Below the
claims, a row for the main tables' numbers of each arm, and for those of the ceilings, the planner and the data, fails
where more lie outside than chance leaves in 95 of 100 runs, were the numbers independent, or one is far off. Writes
`{verify,numbers}.{csv,json,tex}`. `--strict` ends with status 1 where a row fails."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scipy import special

from gillnext.claims.stage import Claim, judge, read_claims
from gillnext.claims.verdicts import Number, Verdict, Word, in_print
from gillnext.config import arguments
from gillnext.config.load import settings_of
from gillnext.record.results import Results, made_on
from gillnext.runtime import files
from gillnext.runtime.errors import UserError
from gillnext.tables import runs as whole_runs
from gillnext.tables.runs import Runs
from gillnext.tables.table import write
from gillnext.verify import kept, report
from gillnext.verify.by_hash import values_row
from gillnext.verify.measured import ARM, groups, siblings
from gillnext.verify.report import FAIL, NEITHER, PASS, REPORTED, UNDECIDED, Row
from gillnext.verify.runs import of_claim, values
from gillnext.verify.settings import common_arms, other_settings
from gillnext.verify.tolerance import Comparison, Judged, compare


@dataclass(frozen=True)
class Pair:
    """This run, the kept one, and the whole runs at hand but this."""

    mine: Results
    theirs: Results
    runs: Runs


def why_undecided(numbers: Sequence[Comparison]) -> str:
    """Why another verdict is no failure."""
    if any(number.judged == Judged.REPORTED for number in numbers):
        return "too few whole runs at hand to judge the numbers behind it"
    if any(number.judged == Judged.WITHIN for number in numbers):
        return "the numbers behind it lie within the spread of whole runs"
    return "the numbers behind it are the same but for a numerical floor"


def judged_claim(verdicts: tuple[str, str], numbers: Sequence[Comparison]) -> tuple[str, str]:
    """(result, why) of a claim that both runs tell by the same numbers."""
    outside = [report.difference(number) for number in numbers if number.judged == Judged.OUTSIDE]
    other = [f"{verdicts[0]} here, {verdicts[1]} in the kept run"] if verdicts[0] != verdicts[1] else []
    if outside:
        return FAIL, "; ".join([*other, *outside])
    if other:
        return UNDECIDED, f"{other[0]}; {why_undecided(numbers)}"
    return (REPORTED, words) if (words := report.reported(numbers)) else (PASS, "")


def verify_claim(claim: Claim, pair: Pair) -> Row:
    """One claim in both runs."""
    tier = pair.mine.config.run.tier
    here, there = judge(claim, pair.mine), judge(claim, pair.theirs)
    verdicts = in_print(here.word, tier), in_print(there.word, tier)
    if reason := incomparable(here, there):
        return Row(claim.id, claim.claim, NEITHER, verdicts, why=reason)
    known = {number.name: number for number in there.numbers}
    numbers = tuple(
        compare(number, known[number.name], pair.runs, of_claim(claim, number))
        for number in here.numbers
        if number.name in known
    )
    if {n.name for n in here.numbers} != known.keys():
        return Row(claim.id, claim.claim, NEITHER, verdicts, numbers, "the two runs tell it by other arms or modes")
    result, why = judged_claim(verdicts, numbers)
    return Row(claim.id, claim.claim, result, verdicts, numbers, why)


def incomparable(here: Verdict, there: Verdict) -> str:
    """Why a claim cannot be compared, if so."""
    if Word.NOT_HERE in (here.word, there.word):
        return here.reason or there.reason
    found = ((here, "this run"), (there, "the kept run"))
    return next((f"{which}: {verdict.reason}" for verdict, which in found if verdict.word == Word.NOT_RUN), "")


def verify_group(group: str, mine: list[Number], theirs: list[Number], pair: Pair) -> Row:
    """The main tables' numbers of one arm, or of another part of both runs."""
    known, arm = {number.name: number for number in theirs}, group.removeprefix(ARM)
    numbers = tuple(
        compare(n, known[n.name], pair.runs, n.name, siblings(pair.mine, arm, n) if group.startswith(ARM) else ())
        for n in mine
        if n.name in known
    )
    outside = [number for number in numbers if number.judged == Judged.OUTSIDE]
    most, names = allowed(len(numbers)), {number.name for number in mine}
    lacking = [(names - known.keys(), "the kept run has no"), (known.keys() - names, "this run has no")]
    why = [f"{which} {', '.join(sorted(gone))}" for gone, which in lacking if gone]
    result = NEITHER if why else PASS
    if len(outside) > most or any(number.far for number in outside):
        result = FAIL
    why += map(report.difference, outside)
    if not why and (reported := report.reported(numbers)):
        result, why = REPORTED, [reported]
    what = f"{group}: numbers of the main tables, at most {most} outside"
    return Row("", what, result, numbers=numbers, why="; ".join(why))


def allowed(n: int) -> int:
    """The 0.95 quantile of how many of `n` independent 95% intervals miss."""
    return next(k for k in range(n + 1) if special.bdtr(k, n, 0.05) >= 0.95)


def made_where(pair: Pair) -> dict[str, str]:
    """Which run -> arithmetic and machine that made it, in words."""
    runs = {"This run": pair.mine, "The kept run": pair.theirs}
    return {which: made_on(results.memory.get("provenance", {})) for which, results in runs.items()}


def notes(pair: Pair, left_out: list[str], rows: list[Row]) -> list[str]:
    """What a reader of the tables must know."""
    n, found = len(pair.runs.runs), [f"{which}: {made}" for which, made in made_where(pair).items()]
    judged = [c for row in rows for c in row.numbers if c.runs and c.half is not None]
    if judged:
        found.append(
            f"Judged by the 95% prediction interval for one run more from {n} whole runs, this one not among them, and "
            f"at least a floor: an honest run leaves up to about {0.05 * len(judged):.1f} of {len(judged)} outside."
        )
    else:
        found.append(
            f"Whole runs at hand, this one not among them: {n}. Nothing is known of how far they spread, so that "
            "numbers which training decides are reported and not judged."
        )
    if settings := other_settings(pair.mine.config, pair.theirs.config):
        found.append(f"Settings that are not the kept run's: {'; '.join(settings)}.")
    return found + ([f"Not compared: {'; '.join(left_out)}."] if left_out else [])


def _results(root: Path) -> Results:
    if not (root / "config.json").exists():
        raise UserError("no config.json in it", where=str(root), remedy="run the workflow to its end first")
    return Results(root, settings_of(root))


def _pair(root: Path, reference: Path, claims: list[Claim], runs: Path | None) -> Pair:
    """Both runs, of one tier."""
    kept.check(reference)
    mine, theirs = _results(root), _results(reference)
    if mine.config.run.tier != theirs.config.run.tier:
        what = f"this run is of tier {mine.config.run.tier!r}, the kept one of {theirs.config.run.tier!r}"
        raise UserError(what, where=str(reference), remedy="name the kept run of the same tier")
    known = whole_runs.read(runs)
    return Pair(mine, theirs, known.without(values(mine, claims)) if known.runs else known)


def compared(pair: Pair, claims: list[Claim], arms: list[str]) -> list[Row]:
    """A row a claim, and one for each group of numbers: of each of `arms`, and of what is there once."""
    here, there = groups(pair.mine, arms), groups(pair.theirs, arms)
    rows = [verify_claim(claim, pair) for claim in claims]
    return rows + [verify_group(group, here[group], there[group], pair) for group in here]


def verify(
    root: Path, reference: Path, claims: Path, out: Path, runs: Path | None = None
) -> tuple[list[Row], list[str]]:
    """Compare the results folder `root` with the kept run in `reference`; write the tables; returns rows and notes.

    `runs`: the table of the tier's whole runs.
    """
    known = read_claims(claims)
    pair = _pair(root, reference, known, runs)
    arms, left_out = common_arms(pair.mine.config, pair.theirs.config)
    by_hash, said = values_row(root, reference)
    rows = by_hash + compared(pair, known, arms)
    said += notes(pair, left_out, rows)
    with files.atomic(out) as folder:
        folder.mkdir()
        write(folder, [report.rows_table(rows, said), report.numbers_table(rows, said)])
    return rows, said


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--results", type=Path, required=True, metavar="FOLDER", help="results/{tier} of this run")
    parser.add_argument("--reference", type=Path, required=True, metavar="FOLDER", help="reference/{tier}: a kept run")
    parser.add_argument("--claims", type=Path, default=Path("reference/claims.yaml"), metavar="FILE")
    parser.add_argument("--runs", type=Path, metavar="FILE", help="reference/runs/{tier}.csv: whole runs of the tier")
    parser.add_argument("--strict", action="store_true", help="end with status 1 where a row fails")
    arguments.add_out(parser, "folder of the tables")


def main(args: argparse.Namespace) -> None:
    rows, said = verify(args.results, args.reference, args.claims, args.out, args.runs)
    print(report.terminal(rows, said))
    if args.strict and any(row.result == FAIL for row in rows):
        raise SystemExit(1)
