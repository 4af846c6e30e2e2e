"""Whether and when an arm began to follow boxes, from its curve of validation box fidelity, not from the loss."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from gillnext.record.results import Results
from gillnext.tables.table import Cell, Column, Table, integer, number, text

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
    study, images = results.config.study, results.config.curve.images
    curves = {arm: found for arm in study.trained if (found := results.curves(arm))}

    def began(arm: str) -> Cell:
        points = curves[arm][0]
        return text(words([onset(curve) for curve in curves[arm]], points[-1][0], points[0][0]))

    columns = {
        Column("arm", "arm", left=True): text,
        Column("bias", "bias", left=True): lambda arm: text(study.arms[arm].bias),
        Column("steps", "steps"): lambda arm: integer(curves[arm][0][-1][0]),
        Column("seeds", "seeds"): lambda arm: integer(len(curves[arm])),
        Column("onset", "onset", left=True): began,
        Column("last", "at the end"): lambda arm: number(statistics.fmean(curve[-1][1] for curve in curves[arm])),
    }
    note = (
        f"Onset: the first of {IN_A_ROW} points in a row with success@0.5 ≥ {LEVEL:g} on {images} validation layouts; "
        "the median over seeds. At the end: success@0.5 of the last point."
    )
    return Table.of("onset", "When box-following began", curves, columns, note) if curves else None
