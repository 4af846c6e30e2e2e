"""The detector behind the annotator's interface, beside Qwen2-VL: it looks for the names that it was trained on.

The demo's is a small Faster R-CNN. It stands in for Qwen2-VL because a miniature of that is far from IoU 0.8 after
minutes of training on a CPU core (benchmarks/qwen2vl_annotator.py measures how far); the interface and every later
stage are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from gillnext.annotate.base import Found, Names
from gillnext.boxes import Convention
from gillnext.instruments.detections import Detections
from gillnext.miniatures.networks.faster_rcnn import AnnotatorNetwork
from gillnext.miniatures.networks.small_detector import SmallDetector
from gillnext.runtime.errors import UserError

CHUNK = 16  # images that go through the network together, whatever the stage's batch: shapes are constant


class DetectorAnnotator:
    """Looks up the names of a caption among a detector's classes.

    Its boxes are xyxy fractions of the image already (`Convention.UNIT`).
    """

    name = "detector"
    convention = Convention.UNIT
    needs_names = True
    max_image_size = None

    def __init__(self, network: SmallDetector, threshold: float = 0.5) -> None:
        self.network, self.threshold = network, threshold

    @classmethod
    def from_pretrained(cls, folder: Path | str, device: str = "cpu", threshold: float = 0.5) -> DetectorAnnotator:
        """The annotator in a folder that `gillnext annotator` wrote."""
        return cls(AnnotatorNetwork.from_pretrained(folder).to(device), threshold)

    @property
    def names(self) -> list[str]:
        """The names that it knows, its vocabulary where none is given."""
        return self.network.classes

    def annotate(
        self, images: Sequence[Image.Image], captions: Sequence[str], names: Sequence[Names]
    ) -> list[list[Found]]:
        """For each name of each image the best detection of its class that reaches the threshold."""
        size = (self.network.size, self.network.size)
        small = np.stack([np.asarray(i if i.size == size else i.resize(size, Image.Resampling.BOX)) for i in images])
        detections = self.network.detect(small, CHUNK)
        answers = []
        for caption, wanted, found in zip(captions, names, detections, strict=True):
            if wanted is None:
                raise UserError(f"the detector needs the names to look for in {caption!r}", remedy="give a vocabulary")
            answers.append([self._look_up(name, found) for name in wanted])
        return answers

    def _look_up(self, name: str, found: Detections) -> Found:
        if name not in self.network.classes:
            return Found(name, None, 0.0, "a name that the detector does not know")
        best = found.best(self.network.classes.index(name), self.threshold)
        if best is None:
            return Found(name, None, 0.0, "object not in the image")
        x1, y1, x2, y2 = (float(v) for v in best[0])
        return Found(name, (x1, y1, x2, y2), best[1])
