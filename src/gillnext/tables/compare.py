"""Compares the result tables of two runs value by value, and prints the largest difference of every table.

    gillnext compare results/demo results/demo-container

Result tables are those of `tables/` and the claims' verdicts: seconds and bytes of jobs stand in cost tables, which
differ. A difference is |a − b| / max(1, |a|, |b|): absolute for shares and IoUs, relative for what is larger. Ends with
status 2 where one is beyond the tolerance, or where a table, a row, a column or a word is not the same.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gillnext.runtime import files
from gillnext.runtime.errors import UserError
from gillnext.tables.table import PLUS_MINUS

NUMBER = re.compile(r"[+-]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[+-]?\d+)?")


@dataclass(frozen=True)
class Comparison:
    """One table of both runs: how many numbers it has, how many differ at all, the largest difference and its place."""

    table: str
    values: int
    differing: int
    largest: float
    place: str


def difference(a: float, b: float) -> float:
    """|a − b| / max(1, |a|, |b|); where one is not a finite number, 0 if the other is the same and infinite if not."""
    if a == b or (math.isnan(a) and math.isnan(b)):
        return 0.0
    return abs(a - b) / max(1.0, abs(a), abs(b)) if math.isfinite(a - b) else math.inf


def numbers_in(text: str) -> tuple[list[str], list[float]]:
    """The words around the numbers of a text, and the numbers: "0.2 to 0.4" is ["", " to ", ""] and [0.2, 0.4]."""
    text = text.replace("−", "-")
    return NUMBER.split(text), [float(found.replace(",", "")) for found in NUMBER.findall(text)]


def cells(table: dict[str, Any]) -> Iterator[tuple[str, str, float | None]]:
    """(place, text, the number behind it if any) of a table's or a claims file's every cell."""
    if "claims" in table:
        for claim in table["claims"]:
            for key in ("measured", "verdict"):
                yield f"{claim['id']}, {key}", str(claim[key]), None
        return
    titles = [column["title"] for column in table["columns"]]
    for texts, values in zip(table["rows"], table["values"], strict=True):
        for title, text, value in zip(titles, texts, values, strict=True):
            yield f"{texts[0]}, {title}", text, value


def compare_tables(name: str, a: dict[str, Any], b: dict[str, Any]) -> Comparison:
    """Two tables; `UserError` where they have other rows, columns or words."""
    ours, theirs = list(cells(a)), list(cells(b))
    if [place for place, *_ in ours] != [place for place, *_ in theirs]:
        raise UserError("other rows or columns in the two runs", where=name, remedy="compare runs of the same settings")
    found: list[tuple[float, str]] = []
    for (place, text, value), (_, other_text, other_value) in zip(ours, theirs, strict=True):
        if value is not None and other_value is not None:
            found.append((difference(value, other_value), place))
            text, other_text = text.partition(PLUS_MINUS)[2], other_text.partition(PLUS_MINUS)[2]  # the interval
        (words, numbers), (other_words, other_numbers) = numbers_in(text), numbers_in(other_text)
        if words != other_words:
            raise UserError(f"{text!r} against {other_text!r}", where=f"{name}: {place}")
        found += [(difference(x, y), place) for x, y in zip(numbers, other_numbers, strict=True)]
    largest, place = max(found, key=lambda pair: pair[0], default=(0.0, ""))
    return Comparison(name, len(found), sum(d > 0 for d, _ in found), largest, place if largest else "")


OTHERS = ("numbers.json", "index.json")  # what stands beside the tables


def result_tables(root: Path) -> dict[str, Path]:
    """name → JSON file of every result table of a results folder."""
    paths = [*(root / "tables").glob("*.json"), root / "claims/claims.json"]
    found = {str(path.relative_to(root)): path for path in paths if path.name not in OTHERS and path.exists()}
    if not found:
        raise UserError("no result tables", where=str(root), remedy="run the workflow to its end there")
    return found


def compare(a: Path, b: Path) -> list[Comparison]:
    """Every result table of two results folders; `UserError` where one lacks a table that the other has."""
    ours, theirs = result_tables(a), result_tables(b)
    for root, lacking in ((a, theirs.keys() - ours.keys()), (b, ours.keys() - theirs.keys())):
        if lacking:
            what = f"no {', '.join(sorted(lacking))}"
            raise UserError(what, where=str(root), remedy="run the workflow to its end there")
    return [compare_tables(n, files.read_json(ours[n]), files.read_json(theirs[n])) for n in sorted(ours)]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("a", type=Path, help="results folder of one run, as results/demo")
    parser.add_argument("b", type=Path, help="of the other, as results/demo-container")
    parser.add_argument("--tolerance", type=float, default=1e-4, help="largest difference that passes (default 1e-4)")


def main(args: argparse.Namespace) -> None:
    compared = compare(args.a, args.b)
    for c in compared:
        where = f" at {c.place}" if c.place else ""
        print(f"{c.table:<24} {c.values:>4} values, {c.differing:>3} differ, largest difference {c.largest:.1e}{where}")
    worst = max(compared, key=lambda c: c.largest)
    print(f"{'all':<24} {sum(c.values for c in compared):>4} values, largest difference {worst.largest:.1e}")
    if worst.largest > args.tolerance:
        what = f"differs by {worst.largest:.1e}, more than {args.tolerance:g}"
        raise UserError(what, where=f"{worst.table}: {worst.place}")
