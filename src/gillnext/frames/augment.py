"""Augmentation of a clip: one window and one mirroring for all of its frames and its target.

The original draws them anew for each picture, which moves what stands still; a target that lies elsewhere than its
frames teaches the model noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from gillnext.runtime import seeds

PLAIN = (0.0, 0.0, 1.0)


@dataclass(frozen=True)
class Augmentation:
    """What is done to every picture of a clip: a square window, corner and side as shares of the largest one in the
    middle, and a mirroring.
    """

    window: tuple[float, float, float] = PLAIN
    flipped: bool = False

    def __call__(self, images: Sequence[Image.Image], side: int) -> np.ndarray:
        """Pictures of one size as (F, side, side, 3) uint8."""
        width, height = images[0].size
        least = min(width, height)
        x, y, share = self.window
        left, top = (width - least) / 2 + x * least, (height - least) / 2 + y * least
        box = (left, top, left + share * least, top + share * least)
        found = []
        for image in images:
            if image.size == (side, side) and self.window == PLAIN:
                pixels = np.asarray(image)
            else:
                pixels = np.asarray(image.resize((side, side), Image.Resampling.LANCZOS, box))
            found.append(pixels[:, ::-1] if self.flipped else pixels)
        return np.stack(found)


def draw(crop: float, flip: float, *names: str | int) -> Augmentation:
    """The augmentation that `names` determine: a window of at least `crop` of the side, mirrored with chance `flip`."""
    rng = seeds.rng("augmentation", *names)
    share = float(rng.uniform(crop, 1.0)) if crop < 1 else 1.0
    x, y = (float(v) for v in rng.uniform(0, max(1 - share, 0), 2))
    return Augmentation((x, y, share), bool(rng.random() < flip))
