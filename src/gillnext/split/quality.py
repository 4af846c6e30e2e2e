"""Which boxes of a layout are good, and which layouts: everything that is left out has a reason.

Areas are shares of the picture, aspect is in pixels. A box that is at fault is left out alone; a layout goes with its
last good box, or where too few or too many are left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from gillnext.boxes import iou
from gillnext.config.split import Split
from gillnext.layouts import Box, Layout

SMALL, LARGE, LONG, TWICE, UNSURE, LABEL = (
    "box too small", "box too large", "box too long", "box twice", "box unsure", "name of several lines",
)  # fmt: skip
FEW, MANY = "too few boxes", "too many boxes"
FAULTS = (SMALL, LARGE, LONG, TWICE, UNSURE, LABEL)


@dataclass(frozen=True)
class Judged:
    """`kept`: places of the good boxes; `faults`: reason of each other box; `reason`: why the layout goes, or ""."""

    kept: tuple[int, ...]
    faults: tuple[str, ...]
    reason: str


def fault(name: str, box: Box, score: float | None, size: tuple[int, int], settings: Split) -> str:
    """What is wrong with a box of a picture of (width, height) pixels, or ""; `score` is None where there is none."""
    x1, y1, x2, y2 = box
    width, height = (x2 - x1) * size[0], (y2 - y1) * size[1]
    area = (x2 - x1) * (y2 - y1)
    wrong = {
        LABEL: name.splitlines() != [name.strip()],
        UNSURE: score is not None and score < settings.least_confidence,
        SMALL: area < settings.least_area,
        LARGE: area > settings.most_area,
        LONG: max(width, height) > settings.most_aspect * min(width, height),
    }
    return next((reason for reason, holds in wrong.items() if holds), "")


def judge(layout: Layout, scores: Sequence[float | None], size: tuple[int, int], settings: Split) -> Judged:
    """The good boxes of a layout, whose picture has (width, height) pixels; a score a box, or None."""
    kept: list[int] = []
    faults: list[str] = []
    for i, (name, box, score) in enumerate(zip(layout.names, layout.boxes, scores, strict=True)):
        same = [layout.boxes[j] for j in kept if layout.names[j] == name]
        reason = fault(name, box, score, size, settings)
        if not reason and same and iou(np.array([box]), np.array(same)).max() > settings.most_iou:
            reason = TWICE
        if reason:
            faults.append(reason)
        else:
            kept.append(i)
    why = ""
    if len(kept) < settings.least_boxes:
        why = faults[0] if faults else FEW
    elif len(kept) > settings.most_boxes:
        why = MANY
    return Judged(tuple(kept), tuple(faults), why)


def only(layout: Layout, judged: Judged) -> Layout:
    """The layout with its good boxes alone."""
    names, boxes = tuple(layout.names[i] for i in judged.kept), tuple(layout.boxes[i] for i in judged.kept)
    return replace(layout, names=names, boxes=boxes)
