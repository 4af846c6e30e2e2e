"""A zero-shot detector behind the annotator's interface: it looks for the names that a caption holds.

Of each name it gives the likeliest box. Where it cannot be certain which name a box belongs to, no name gets it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from gillnext.annotate.base import Found, Names
from gillnext.boxes import Convention
from gillnext.config.data import ZeroShot
from gillnext.instruments import zero_shot
from gillnext.instruments.open_vocabulary import known
from gillnext.instruments.zero_shot import Seen, ZeroShotDetector
from gillnext.runtime.errors import UserError

UNKNOWN = "unknown to the detector"
SAME = "another name of the caption has the same phrase"
UNSURE = "a box that fits two names"
ABSENT = "object not in the image"


class ZeroShotAnnotator:
    """Asks for the names of a caption by the phrases of a table. Boxes are xyxy fractions of the image."""

    name = "zero-shot"
    convention = Convention.UNIT
    needs_names = True

    def __init__(
        self, detector: ZeroShotDetector, rows: Mapping[str, str], threshold: float, max_image_size: int | None = None
    ) -> None:
        self.detector, self.rows, self.threshold, self.max_image_size = detector, rows, threshold, max_image_size
        self.phrases = known(detector, rows)

    @classmethod
    def from_pretrained(
        cls, folder: Path | str, rows: Mapping[str, str], settings: ZeroShot, device: str = "cpu",
        threshold: float = 0.35, max_image_size: int | None = None,
    ) -> ZeroShotAnnotator:  # fmt: skip
        """The detector in `folder`; `rows` are phrases by name, "" where there is none."""
        return cls(zero_shot.load(folder, settings, device), rows, threshold, max_image_size)

    @property
    def names(self) -> list[str]:
        """All names of the table: one without a phrase in a caption is counted, and not passed over."""
        return list(self.rows)

    def annotate(
        self, images: Sequence[Image.Image], captions: Sequence[str], names: Sequence[Names]
    ) -> list[list[Found]]:
        """For each name of each image its likeliest box that reaches the threshold."""
        asked = []
        for caption, wanted in zip(captions, names, strict=True):
            if wanted is None:
                raise UserError(f"the detector needs the names to look for in {caption!r}", remedy="give a vocabulary")
            phrases = Counter(self.phrases[name].lower() for name in wanted if name in self.phrases)
            asked.append(phrases)
        seen = self.detector.look(images, [list(p) for p in asked], max(len(images), 1), self.threshold)
        return [
            [self._look_up(name, phrases, one) for name in wanted or []]
            for wanted, phrases, one in zip(names, asked, seen, strict=True)
        ]

    def _look_up(self, name: str, phrases: Counter[str], seen: Seen) -> Found:
        phrase = self.phrases.get(name, "").lower()
        if not phrase:
            return Found(name, None, 0.0, UNKNOWN)
        if phrases[phrase] > 1:
            return Found(name, None, 0.0, SAME)
        place = list(phrases).index(phrase)
        mine = (seen.labels == place).nonzero()[0]
        if not len(mine):
            return Found(name, None, 0.0, UNSURE if any(place in one for one in seen.unsure) else ABSENT)
        x1, y1, x2, y2 = (float(v) for v in seen.boxes[mine[0]])  # by falling score
        return Found(name, (x1, y1, x2, y2), float(seen.scores[mine[0]]))
