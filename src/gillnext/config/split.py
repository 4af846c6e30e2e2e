"""The settings of the split of a release into sides, and of the quality that its boxes need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gillnext.config.setting import s


@dataclass(frozen=True)
class Split:
    val: float = s(0.005, "share of the pictures, by hash of their content, that validation layouts are taken from")
    test: float = s(0.02, "the same for test layouts")
    relations: float = s(0.02, "the same for held-out relations; what states none is trained on")
    reference: float = s(0.02, "the same for the pictures, sample.test of them, that FID, KID and CMMD are taken to")
    near: int | None = s(
        4, "bits of 64 by which perceptual hashes of near-duplicates differ at most, 8 or fewer; null: none"
    )
    duplicates: Literal["first", "group"] = s("first", "of near-duplicates the first is kept, or all go to one side")
    least_area: float = s(0.002, "smallest box that is kept, as a share of the picture")
    most_area: float = s(0.95, "largest box that is kept, as a share of the picture")
    most_aspect: float = s(10.0, "largest ratio of a box's longer side to the shorter one, in pixels")
    most_iou: float = s(0.8, "largest IoU of two boxes of one name; of two that overlap more the first is kept")
    least_confidence: float = s(0.0, "lowest score of a box, where the annotator gives scores")
    least_boxes: int = s(1, "fewest boxes of a layout")
    most_boxes: int = s(20, "most boxes of a layout")
    manifest: str = s("", "manifest.parquet of another split, whose sides are taken; empty: sides by hash")
    published: str = s("", "folder of `gillnext heldout-from`: layouts that every arm draws beside; empty: none")
