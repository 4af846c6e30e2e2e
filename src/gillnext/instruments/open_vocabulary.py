"""A zero-shot detector as a box evaluator: its classes are the names of a file, asked for in the detector's words.

A picture is asked for the names of its own layout alone, as the authors of layout benchmarks ask Grounding DINO (MIGC,
InstanceAssemble): a name that is asked for beside thousands of others takes boxes from no other's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gillnext.config.data import ZeroShot
from gillnext.instruments import phrases as tables
from gillnext.instruments import zero_shot
from gillnext.instruments.detections import Detections
from gillnext.instruments.zero_shot import Seen, ZeroShotDetector
from gillnext.runtime.errors import UserError

UNSURE, NAMELESS = "boxes that fit two names", "boxes that fit no name"


def classes_of(phrases: Mapping[str, str]) -> tuple[list[str], dict[str, int]]:
    """Class names, and the class of each name, from phrases by name ("" is unknown): the first name of each phrase, and
    others with the same phrase are of its class.
    """
    first: dict[str, int] = {}
    classes: list[str] = []
    labels: dict[str, int] = {}
    for name, phrase in phrases.items():
        key = phrase.lower()
        if not key:
            continue
        if key not in first:
            first[key] = len(classes)
            classes.append(name)
        labels[name] = first[key]
    return classes, labels


def known(detector: ZeroShotDetector, rows: Mapping[str, str]) -> dict[str, str]:
    """The rows of a table of names whose phrase the detector reads; `UserError` where it reads none, or less than half
    of a list without phrases: a vocabulary of another language has a few Chinese characters all the same.
    """
    found = {name: phrase for name, phrase in rows.items() if phrase and detector.reads(phrase)}
    a_list = all(name == phrase for name, phrase in rows.items())
    if not found or (a_list and 2 * len(found) < len(rows)):
        foreign = [name for name in rows if name not in found]
        raise UserError(
            f"the detector knows {len(found) or 'none'} of {len(rows)} names: not {'、'.join(foreign[:3])}",
            where=str(detector.tokenizer.name_or_path),
            remedy="give a table of names in the detector's language: gillnext names",
        )
    return found


class ZeroShotEvaluator:
    """A zero-shot detector behind the evaluators' interface (`OpenDetector`)."""

    scored = True

    def __init__(self, detector: ZeroShotDetector, rows: Mapping[str, str]) -> None:
        self.detector, self.given = detector, len(rows)
        self.phrases = known(detector, rows)
        self.classes, self.labels = classes_of(self.phrases)
        self.confident = detector.settings.confident
        self.counts: Counter[str] = Counter()

    @classmethod
    def from_pretrained(cls, folder: Path, names: Path, settings: ZeroShot, device: str = "cpu") -> ZeroShotEvaluator:
        """The detector in `folder`, for the names of a file (`phrases.read`)."""
        return cls(zero_shot.load(folder, settings, device), tables.read(names))

    @property
    def description(self) -> str:
        asked = f"asked for the names of each layout; {len(self.phrases)} of {self.given} names known"
        return f"{self.detector.description}, {asked}"

    def detect(self, images: np.ndarray, batch: int) -> list[Detections]:
        """Detections of all classes in each picture: as many askings as their phrases need."""
        return self.detect_named(list(images), [self.classes] * len(images), batch)

    def detect_named(self, images: Sequence[Any], names: Sequence[Sequence[str]], batch: int) -> list[Detections]:
        labels = [sorted({self.labels[name] for name in wanted if name in self.labels}) for wanted in names]
        asked = [[self.phrases[self.classes[label]] for label in one] for one in labels]
        return [self._read(s, one) for s, one in zip(self.detector.look(images, asked, batch), labels, strict=True)]

    def _read(self, seen: Seen, labels: list[int]) -> Detections:
        self.counts.update({UNSURE: len(seen.unsure), NAMELESS: seen.nameless})
        return Detections(seen.boxes, np.array([labels[i] for i in seen.labels], dtype=np.int64), seen.scores)
