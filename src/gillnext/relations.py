"""Spatial relations between the centres of boxes: left, right, above, below."""

from __future__ import annotations

Point = tuple[float, float]  # x, y in [0, 1]

DIRECTIONS = ("left", "right", "above", "below")
CENTRE: Point = (0.5, 0.5)  # of the image: what a relation without a second object is about


def holds(relation: str, subject: Point, reference: Point, margin: float = 0.0) -> bool:
    """Whether a relation holds between two centres, by more than `margin` of the image."""
    dx, dy = subject[0] - reference[0], subject[1] - reference[1]
    return {"left": -dx, "right": dx, "above": -dy, "below": dy}[relation] > margin
