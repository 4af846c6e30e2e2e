"""Whole runs at hand: each number of a tier in every run that was kept of it, and how far it spreads over them.

Every run trains its own data models, base and scorers. How far their numbers lie apart neither the seeds of one run's
adapters tell nor the count of its images: only other whole runs do. `reference/runs/{tier}.csv` holds them, a row a run
and number; CSV, because a few hundred rows of it are read, reviewed and merged as text. `gillnext runs` adds a run."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gillnext.runtime.errors import UserError
from gillnext.statistics import Spread, quantile, spread

COLUMNS = ("run", "arithmetic", "processor", "threads", "seed", "code", "number", "metric", "value")
LEAST = 2  # runs, before anything is known of a spread
SAME = 1e-9  # relative: two runs of equal values, written by other hands


@dataclass(frozen=True)
class Row:
    """One number of one run: `threads` and `seed` are run.threads and run.seed, `value` the mean over seeds."""

    run: str
    arithmetic: str
    processor: str
    threads: int
    seed: int
    code: str
    number: str
    metric: str
    value: float


def equal(first: Mapping[str, float], second: Mapping[str, float]) -> bool:
    """Whether two runs have some numbers in common, and the same value of each."""
    both = first.keys() & second.keys()
    return bool(both) and all(math.isclose(first[k], second[k], rel_tol=SAME, abs_tol=1e-12) for k in both)


class Runs:
    """The numbers of whole runs, run by run; those of equal values count once, for they tell no spread."""

    def __init__(self, runs: Mapping[str, Mapping[str, float]]) -> None:
        self.runs: dict[str, Mapping[str, float]] = {}
        for name, values in runs.items():
            if not any(equal(values, other) for other in self.runs.values()):
                self.runs[name] = values

    def without(self, own: Mapping[str, float]) -> Runs:
        """The runs other than the one that has these very values: no run is judged by a spread that it is part of."""
        return Runs({name: values for name, values in self.runs.items() if not equal(values, own)})

    def values(self, number: str) -> list[float]:
        return [values[number] for values in self.runs.values() if number in values]

    def mean(self, number: str) -> float:
        found = self.values(number)
        return math.fsum(found) / len(found)

    def spread(self, number: str, siblings: Sequence[str] = ()) -> Spread | None:
        """The standard deviation of a number over the n runs that have it, with n − 1 degrees of freedom; None where
        fewer than two have it.

        `siblings`: numbers that spread as it does; the deviation is then that of all. One base decides all of a run's
        numbers, so that more of them add no degree of freedom.
        """
        found = self.values(number)
        if len(found) < LEAST:
            return None
        alike = [values for name in {number, *siblings} if len(values := self.values(name)) == len(found)]
        return Spread(spread(alike).deviation, len(found) - 1)

    def half(self, number: str, siblings: Sequence[str] = ()) -> float | None:
        """Half of the 95% prediction interval about the runs' mean for one run more: t(0.975, n − 1)·s·√(1 + 1/n)."""
        known = self.spread(number, siblings)
        if known is None:
            return None
        n = known.freedom + 1
        return quantile(known.freedom) * known.deviation * math.sqrt(1 + 1 / n)


def read_rows(path: Path) -> list[Row]:
    """The table's rows; a row that is none is an error with its line."""
    if not path.exists():
        remedy = f"begin it: gillnext runs --add FOLDER --name NAME --out {path}"
        raise UserError("no table of whole runs there", where=str(path), remedy=remedy)
    with open(path, encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise UserError("other columns", where=str(path), remedy=f"the columns are {','.join(COLUMNS)}")
        rows = []
        for line in reader:
            try:
                kinds = {"threads": int, "seed": int, "value": float}
                rows.append(Row(**{key: kinds.get(key, str)(line[key]) for key in COLUMNS}))  # type: ignore[arg-type]
            except (TypeError, ValueError) as error:
                where = f"{path}, line {reader.line_num}"
                raise UserError(f"not a row: {error}", where=where, remedy="add the run again") from error
    return rows


def read(path: Path | None) -> Runs:
    """The runs of a table; none without a path."""
    runs: dict[str, dict[str, float]] = {}
    for row in read_rows(path) if path else ():
        runs.setdefault(row.run, {})[row.number] = row.value
    return Runs(runs)


def text(rows: Iterable[Row]) -> str:
    """The table as CSV, runs by name, their numbers in the order given."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in sorted(rows, key=lambda row: row.run):
        writer.writerow([*(getattr(row, key) for key in COLUMNS[:-1]), f"{row.value:.12g}"])
    return out.getvalue()
