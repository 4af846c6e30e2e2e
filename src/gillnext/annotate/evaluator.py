"""A vision-language model as the second box evaluator, where the annotator is of another family.

It is asked as the annotator is, for the names of each picture's layout. Its boxes have no scores: every one counts, and
average precision is not defined, so that it cannot be the first evaluator.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gillnext.annotate.base import Annotator, Found
from gillnext.annotate.vlm import VisionLanguageAnnotator
from gillnext.instruments import families, phrases
from gillnext.instruments.detections import Detections

TOGETHER = 8  # pictures that are asked about together, at most


class VisionLanguageEvaluator:
    """An annotator of open vocabulary behind the evaluators' interface (`OpenDetector`); it reads names as they are."""

    scored = False
    confident = 0.0

    def __init__(self, annotator: Annotator, rows: Mapping[str, str], title: str) -> None:
        self.annotator, self.title = annotator, title
        self.classes = list(rows)
        self.labels = {name: i for i, name in enumerate(self.classes)}
        self.counts: Counter[str] = Counter()

    @classmethod
    def from_pretrained(
        cls, folder: Path, names: Path, device: str = "cpu", max_image_size: int = 1024
    ) -> VisionLanguageEvaluator:
        """The checkpoint in `folder`, for the names of a file (`phrases.read`)."""
        annotator = VisionLanguageAnnotator.from_pretrained(folder, device, max_image_size)
        return cls(annotator, phrases.read(names), families.model_type(folder))

    @property
    def description(self) -> str:
        return f"{self.title}, asked for the names of each layout; no scores, so that every box counts"

    def detect(self, images: np.ndarray, batch: int) -> list[Detections]:
        """Boxes of all classes in each picture."""
        return self.detect_named(list(images), [self.classes] * len(images), batch)

    def detect_named(self, images: Sequence[Any], names: Sequence[Sequence[str]], batch: int) -> list[Detections]:
        found: list[Detections] = []
        batch = min(batch, TOGETHER)
        for start in range(0, len(images), batch):
            wanted = [[n for n in one if n in self.labels] for one in names[start : start + batch]]
            pictures = [Image.fromarray(image) for image in images[start : start + batch]]
            rows = [i for i, one in enumerate(wanted) if one]
            answers: dict[int, list[Found]] = {}
            if rows:
                asked = [wanted[i] for i in rows]
                said = self.annotator.annotate([pictures[i] for i in rows], ["、".join(one) for one in asked], asked)
                answers = dict(zip(rows, said, strict=True))
            found += [self._read(answers.get(i, [])) for i in range(len(wanted))]
        return found

    def _read(self, answers: list[Found]) -> Detections:
        self.counts.update(f.reason for f in answers if f.box is None)
        kept = [f for f in answers if f.box is not None]
        labels = np.array([self.labels[f.name] for f in kept], dtype=np.int64)
        boxes = np.array([f.box for f in kept], dtype=np.float64).reshape(-1, 4)
        return Detections(boxes, labels, np.ones(len(kept)))
