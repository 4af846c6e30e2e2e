"""How far a score moves with what nobody chooses: the base's seed, the adapter's, the noise, and the layouts drawn.

The file is `variance.json` in `reference/measured`, by benchmarks/variance.py (docs/variance.md); no run makes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gillnext.runtime import files
from gillnext.statistics import components
from gillnext.tables.table import Cell, Column, Table, integer, number, text

SOURCES = ("base", "training seed", "noise")
LAYOUTS = "layouts"
METRICS = {"success50": "success@0.5", "miou": "mIoU", "rules_success50": "success@0.5 by templates"}
DIFFERENCE = "{} − {}"
DIGITS = 4


@dataclass(frozen=True)
class Row:
    """What one source adds to a metric of an arm, or of a difference of two: `n` draws of it."""

    what: str
    metric: str
    mean: float
    source: str
    n: int
    deviation: float
    low: float | None = None
    high: float | None = None


def cube(rows: list[dict[str, Any]], arm: str, metric: str) -> np.ndarray:
    """An arm's values by base, adapter seed and noise (B, A, K), in the file's order."""
    of: dict[str, dict[int, list[float]]] = {}
    for row in rows:
        if row["arm"] == arm:
            of.setdefault(row["base"], {}).setdefault(row["seed"], []).append(row[metric])
    return np.array([list(seeds.values()) for seeds in of.values()])


def rows(measured: dict[str, Any]) -> Iterator[Row]:
    """A row a source, for each of the two arms and their difference."""
    first, second = dict.fromkeys(row["arm"] for row in measured["rows"])
    for metric in METRICS:
        values = {arm: cube(measured["rows"], arm, metric) for arm in (first, second)}
        values[DIFFERENCE.format(second, first)] = values[second] - values[first]
        for what, values_BAK in values.items():
            B, A, K = values_BAK.shape
            mean, drawn = float(values_BAK.mean()), dict(zip(SOURCES, (B, B * A, B * A * K), strict=True))
            for source, of in components(values_BAK, SOURCES).items():
                yield Row(what, metric, mean, source, drawn[source], of.deviation, of.low, of.high)
            if metric in measured["layouts"][what]:
                yield Row(what, metric, mean, LAYOUTS, measured["images"], measured["layouts"][what][metric])


def _of(value: float | None) -> Cell:
    return number(value, DIGITS)


def variance_table(path: Path | None) -> Table | None:
    """A row a source; None where nothing was measured."""
    if path is None:
        return None
    measured = files.read_json(path)
    columns = {
        Column("what", "of", left=True): lambda row: text(row.what),
        Column("metric", "metric", left=True): lambda row: text(METRICS[row.metric]),
        Column("mean", "mean"): lambda row: _of(row.mean),
        Column("source", "moved by", left=True): lambda row: text(row.source),
        Column("deviation", "deviation"): lambda row: _of(row.deviation),
        Column("low", "from"): lambda row: _of(row.low),
        Column("high", "to"): lambda row: _of(row.high),
        Column("n", "n"): lambda row: integer(row.n),
    }
    title = "What moves a score of the demo's arms: standard deviations of one draw of each source"
    note = (
        "Analysis of variance of nested draws; 95% intervals: χ² of the lowest source, Tukey's and Williams' of those "
        f"above. Layouts: the {measured['images']} test layouts of the mean over all sets, by bootstrap. Made on "
        f"{measured['processor']}."
    )
    return Table.of("variance", title, list(rows(measured)), columns, note)
