"""Chance level of box fidelity: the same images against boxes redrawn from a prior for the same phrases.

What a set of images scores when nothing ties its objects to the requested places. Classes stay as requested,
so this is a fairer floor than layouts shuffled between images, which mostly ask for other classes.

Letters: D redraws, I images, C numbers of boxes from 1 on, N box slots.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from gillnext.instruments.detections import Detections
from gillnext.runtime import files
from gillnext.runtime.errors import UserError
from gillnext.score.boxes import HIT, Requested, assign, breakdown

REDRAWS = 5


@dataclass(frozen=True)
class Prior:
    """Boxes of a prior, xyxy in [0, 1]: `boxes_DICN4`[d, i, c − 1, :c] are c boxes for image i in redraw d.

    They hang on the image's place in its set and on the number of boxes alone, so that they are the same for every arm.
    """

    boxes_DICN4: np.ndarray

    def redraw(self, wanted: Requested, draw: int, index: int) -> Requested:
        """What image `index` was asked for, with other boxes; `UserError` where the prior has none for it."""
        count = len(wanted.labels)
        _, images, most, _, _ = self.boxes_DICN4.shape
        if index >= images or count > most:
            what = f"image {index} with {count} boxes, where it has {images} images with up to {most}"
            raise UserError(what, where="the prior", remedy="make it again: gillnext prior")
        drawn_N4 = self.boxes_DICN4[draw, index, count - 1, :count] if count else wanted.boxes
        return Requested(wanted.labels, drawn_N4, wanted.overlaps)

    def redrawn(self, wanted: Sequence[Requested]) -> list[list[Requested]]:
        """Every redraw of all images' boxes."""
        return [[self.redraw(w, draw, i) for i, w in enumerate(wanted)] for draw in range(len(self.boxes_DICN4))]

    def save(self, path: Path) -> None:
        with files.atomic(path) as temporary:
            save_file({"boxes": self.boxes_DICN4}, temporary)

    @classmethod
    def load(cls, path: Path) -> Prior:
        """What `save` wrote; `UserError` where there is nothing."""
        if not path.exists():
            raise UserError("no prior of boxes", where=str(path), remedy="make it first: gillnext prior")
        return cls(load_file(path)["boxes"])


def _assigned(redrawn: Sequence[Sequence[Requested]], found: Sequence[Detections]) -> list[np.ndarray]:
    return [assign(w, f) for wanted in redrawn for w, f in zip(wanted, found, strict=True)]


def level(redrawn: Sequence[Sequence[Requested]], found: Sequence[Detections]) -> dict[str, float]:
    """chance_miou and chance_success50, means over redrawn sets of boxes."""
    ious_B = np.concatenate(_assigned(redrawn, found))
    return {"chance_miou": float(ious_B.mean()), "chance_success50": float((ious_B >= HIT).mean())}


def by_part(
    redrawn: Sequence[Sequence[Requested]], found: Sequence[Detections], classes: Sequence[str]
) -> dict[str, dict[str, dict[str, Any]]]:
    """The same part by part, as `boxes.breakdown`: of the redrawn boxes those that are themselves of the part, so that
    a small box's chance level is what small boxes score in pictures that know nothing of them.
    """
    every = [wanted for one in redrawn for wanted in one]
    return breakdown(every, _assigned(redrawn, found), classes, intervals=False)
