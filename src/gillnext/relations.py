"""Spatial relations between the centres of boxes: left, right, above, below."""

from __future__ import annotations

from gillnext.layouts import Layout
from gillnext.runtime.errors import UserError

Point = tuple[float, float]  # x, y in [0, 1]

Stated = list[tuple[int, str, int | None]]  # subject, relation, reference: indices of the caption's objects

DIRECTIONS = ("left", "right", "above", "below")
CENTRE: Point = (0.5, 0.5)  # of the image: what a relation without a second object is about


def holds(relation: str, subject: Point, reference: Point, margin: float = 0.0) -> bool:
    """Whether a relation holds between two centres, by more than `margin` of the image."""
    dx, dy = subject[0] - reference[0], subject[1] - reference[1]
    return {"left": -dx, "right": dx, "above": -dy, "below": dy}[relation] > margin


def stated(layout: Layout, where: str = "layout") -> Stated:
    """The relations that a caption states, from its row's `relations`; errors name `where`."""
    rows: Stated = []
    for row in layout.extra.get("relations") or []:
        good = isinstance(row, list | tuple) and len(row) == 3 and row[1] in DIRECTIONS
        indices = [i for i in (row[0], row[2]) if i is not None] if good else []
        if not good or row[0] is None or not all(0 <= i < len(layout.names) for i in indices):
            raise UserError(
                f"{row} is not a relation between the row's {len(layout.names)} objects",
                where=where,
                remedy="write [subject, left|right|above|below, reference or null]",
            )
        rows.append((row[0], row[1], row[2]))
    return rows
