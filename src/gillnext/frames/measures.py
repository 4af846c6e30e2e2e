"""What drawn targets are scored by, as functions of pictures and detections; no model is needed here.

Letters: N clips, H rows, W columns, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from gillnext import boxes
from gillnext.chat.measures import Share
from gillnext.instruments.detections import Detections
from gillnext.layouts import Layout
from gillnext.score.boxes import HIT

CHANGED = 24  # of 255: difference of a channel from which a pixel of target and last frame differs by more than noise


def changed(target: np.ndarray, last: np.ndarray) -> np.ndarray:
    """(H, W) bool: where two pictures (H, W, 3) differ, and a pixel around; of clips that do not say it themselves."""
    apart = np.abs(target.astype(int) - last.astype(int)).max(-1) > CHANGED
    return np.asarray(Image.fromarray(apart.astype(np.uint8) * 255).filter(ImageFilter.MaxFilter(3))) > 0


def errors(drawn: np.ndarray, target: np.ndarray, changed_NHW: np.ndarray) -> dict[str, Share]:
    """Mean absolute error of pictures (N, H, W, 3) uint8 in 255ths: inside what changed, outside, and of all."""
    apart_NHW = np.abs(drawn.astype(float) - target).mean(-1)
    areas = {"inside": changed_NHW, "outside": ~changed_NHW, "error": np.ones_like(changed_NHW)}
    return {name: Share((apart_NHW * area).sum((1, 2)), area.sum((1, 2)).astype(float)) for name, area in areas.items()}


@dataclass(frozen=True)
class Wanted:
    """What a clip's target has to show: an object of class `label` in `box`, and none of class `hidden` in `at`."""

    task: str
    label: int
    box: tuple[float, ...]
    hidden: int | None = None
    at: tuple[float, ...] = ()

    def met(self, found: Detections) -> bool:
        """Whether the best detection of the class has an IoU of `HIT` with the box, and the hidden one is not seen."""
        if (best := found.best(self.label)) is None or boxes.iou(best[0], np.array(self.box))[0, 0] < HIT:
            return False
        there = self.hidden is not None and found.best(self.hidden)
        return not there or bool(boxes.iou(there[0], np.array(self.at))[0, 0] < HIT)


def wanted(row: Layout, labels: dict[str, int]) -> Wanted | None:
    """What a row of truth.jsonl asks for; None where the evaluator does not know its objects."""
    told: dict[str, Any] = row.extra
    name, hidden = told["object"], told.get("hidden")
    if name not in labels or (hidden and hidden["name"] not in labels):
        return None
    box = row.boxes[row.names.index(name)]
    if not hidden:
        return Wanted(told["task"], labels[name], box)
    return Wanted(told["task"], labels[name], box, labels[hidden["name"]], tuple(hidden["bbox"]))


def success(asked: Sequence[Wanted | None], found: Sequence[Detections]) -> Share:
    """How many clips show what they should, of those whose objects are known."""
    known = np.array([one is not None for one in asked], dtype=float)
    met = [one is not None and one.met(seen) for one, seen in zip(asked, found, strict=True)]
    return Share(np.array(met, dtype=float), known)


def inception_score(probabilities_NK: np.ndarray) -> float:
    """exp of the mean KL divergence of each picture's classes from those of all (Salimans et al., 2016)."""
    p = np.clip(probabilities_NK, 1e-12, 1)
    return float(np.exp((p * (np.log(p) - np.log(p.mean(0)))).sum(1).mean()))


def part(shares: dict[str, Share], rows: np.ndarray) -> dict[str, Share]:
    """The same scores of some of the clips."""
    return {name: Share(share.right[rows], share.of[rows]) for name, share in shares.items()}
