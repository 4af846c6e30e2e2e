"""What a detector says about one image: boxes, classes and scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Detections:
    """Detections of one image, by falling score.

    `boxes` (M, 4) float64 xyxy in [0, 1]; `labels` (M,) int64 class ids, the first class is 0; `scores` (M,) in [0, 1].
    """

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray

    def best(self, label: int, threshold: float = 0.0) -> tuple[np.ndarray, float] | None:
        """The highest-scoring box of a class and its score, or None where none reaches `threshold`."""
        found = np.flatnonzero((self.labels == label) & (self.scores >= threshold))
        if not len(found):
            return None
        first = found[np.argmax(self.scores[found])]
        return self.boxes[first], float(self.scores[first])


class Detector(Protocol):
    """What finds objects in pictures. `classes`: label i of a detection is the i-th name. `description` stands in the
    protocol of every score that it gives.
    """

    classes: list[str]

    @property
    def description(self) -> str: ...

    def detect(self, images: np.ndarray, batch: int) -> list[Detections]:
        """Detections of each of `images` (N, H, W, 3) uint8 RGB, `batch` images at a time."""
        ...
