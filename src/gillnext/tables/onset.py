"""Whether and when an arm began to follow boxes, from its curve of validation box fidelity, not from the loss."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from gillnext.record.results import Results
from gillnext.tables.table import Column, Table, integer, number, text

LEVEL = 0.2  # success@0.5 from which boxes are followed: about three times the chance level
IN_A_ROW = 2  # points of the curve that must reach it


def onset(curve: Sequence[tuple[int, float]]) -> int | None:
    """The step of the first of `IN_A_ROW` successive points at `LEVEL` or more; None where there is none."""
    reached = [success >= LEVEL for _, success in curve]
    for i in range(len(curve) - IN_A_ROW + 1):
        if all(reached[i : i + IN_A_ROW]):
            return curve[i][0]
    return None


def words(onsets: Sequence[int | None], last: int, first: int = 0) -> str:
    """The median step, “≤” where it is the `first` that was looked at, or what to say where some seeds never began."""
    begun = [step for step in onsets if step is not None]
    if not begun:
        return f"not within {last:,} steps"
    step = statistics.median_low(begun)
    middle = f"{'≤ ' if step == first else ''}{step:,}"
    return middle if len(begun) == len(onsets) else f"{middle}, in {len(begun)} of {len(onsets)} seeds"


def onset_table(results: Results) -> Table | None:
    """One row an arm with an adapter; None where no curve was measured."""
    rows = []
    study = results.config.study
    for name in study.trained:
        measured = results.curves(name)
        if not measured:
            continue
        last = measured[0][-1][0]
        final = statistics.fmean(curve[-1][1] for curve in measured)
        began = words([onset(curve) for curve in measured], last, measured[0][0][0])
        rows.append(
            [
                text(name),
                text(study.arms[name].bias),
                integer(last),
                integer(len(measured)),
                text(began),
                number(final),
            ]
        )
    if not rows:
        return None
    columns = [
        Column("arm", "arm", left=True),
        Column("bias", "bias", left=True),
        Column("steps", "steps"),
        Column("seeds", "seeds"),
        Column("onset", "onset", left=True),
        Column("last", "at the end"),
    ]
    notes = [
        f"Onset: the first of {IN_A_ROW} points in a row with success@0.5 ≥ {LEVEL:g} on "
        f"{results.config.curve.images} validation layouts; the median over seeds. "
        "At the end: success@0.5 of the last point."
    ]
    return Table("onset", "When box-following began", columns, rows, notes)
