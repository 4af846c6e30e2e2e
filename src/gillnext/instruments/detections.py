"""What a detector says about one image: boxes, classes and scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

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


@runtime_checkable
class OpenDetector(Detector, Protocol):
    """A detector of any names: each picture is asked for its own.

    `labels` is the class of every name that it knows; names for which it is asked with the same words are one class.
    `confident`: the score from which a detection counts. `scored`: whether its scores say how likely a box is; without
    them average precision is not defined. `counts`: boxes whose name was not certain, by reason.
    """

    labels: dict[str, int]
    confident: float
    scored: bool
    counts: Counter[str]

    def detect_named(self, images: Sequence[Any], names: Sequence[Sequence[str]], batch: int) -> list[Detections]:
        """Detections of each of N pictures (H, W, 3) uint8, asked for those of its `names` that are known."""
        ...


def look(detector: Detector, images: Any, names: Sequence[Iterable[str]], batch: int) -> list[Detections]:
    """Detections of pictures that are about `names`: a closed detector looks for all of its classes in each."""
    if isinstance(detector, OpenDetector):
        return detector.detect_named(images, [list(dict.fromkeys(one)) for one in names], batch)
    return detector.detect(images, batch)


def labels_of(detector: Detector) -> dict[str, int]:
    """The class of each name that a detector knows."""
    if isinstance(detector, OpenDetector):
        return detector.labels
    return {name: i for i, name in enumerate(detector.classes)}
