"""Chance level of box fidelity: the same images against boxes redrawn from the world's prior for the same
phrases.

What a set of images scores when nothing ties its objects to the requested places. Classes stay as requested,
so this is a fairer floor than layouts shuffled between images, which mostly ask for other classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gillnext.runtime import seeds
from gillnext.score.boxes import HIT, Requested, assign
from gillnext.score.detections import Detections
from gillnext.world.scenes import sample_boxes

REDRAWS = 5


def redraw(wanted: Requested, seed: int, draw: int, index: int) -> Requested:
    """`wanted` with other boxes from the prior, the same for every arm: seeded by redraw and image index."""
    rng = seeds.rng("redrawn", seed, draw, index)
    boxes = sample_boxes(rng, len(wanted.labels))
    while len(boxes) < len(wanted.labels):  # no room left: let the rest overlap
        boxes += sample_boxes(rng, 1)
    return Requested(wanted.labels, np.asarray(boxes, dtype=np.float64).reshape(-1, 4))


def redrawn(wanted: Sequence[Requested], seed: int, redraws: int = REDRAWS) -> list[list[Requested]]:
    """`redraws` redrawn sets of all images' boxes."""
    return [[redraw(w, seed, draw, i) for i, w in enumerate(wanted)] for draw in range(redraws)]


def level(redrawn: Sequence[Sequence[Requested]], found: Sequence[Detections]) -> dict[str, float]:
    """chance_miou and chance_success50, means over redrawn sets of boxes."""
    ious_B = np.concatenate([assign(w, f) for wanted in redrawn for w, f in zip(wanted, found, strict=True)])
    return {"chance_miou": float(ious_B.mean()), "chance_success50": float((ious_B >= HIT).mean())}
