"""Sizes that pictures are trained at, and how a picture and its boxes come into one of them.

Squares are the whole picture, resized. Aspect buckets are SDXL's (Podell et al., 2023, section 2.3 and appendix I): the
picture is resized until it covers the bucket and cropped about its centre; boxes go with it. Sizes are (height, width)
in pixels, points (y, x), as SDXL's conditions have them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from gillnext.layouts import Box

Size = tuple[int, int]
LEAST, ASPECT = 0.9, 4  # of the square's area, at least; the longer side over the shorter, at most


def grid(cells: int, levels: int) -> int:
    """Cells of the latents that the sides of buckets are multiples of: an eighth of SDXL's and Kolors' square, 64
    pixels; at least what the UNet's `levels` halve.
    """
    return max(cells // 16, 2 ** (levels - 1))


def sizes(side: int, step: int) -> list[Size]:
    """Every bucket of a base that draws squares of `side` pixels: sides are multiples of `step` pixels, areas 0.9 to 1
    of the square's. For 1024 and 64 these are SDXL's forty and 1344×704, as 704×1344 is among them.
    """
    lengths = range(step, ASPECT * side + 1, step)
    return [
        (height, width)
        for height in lengths
        for width in lengths
        if LEAST * side**2 <= height * width <= side**2 and max(height, width) <= ASPECT * min(height, width)
    ]


def of_base(cells: int, levels: int, factor: int) -> list[Size]:
    """Every bucket of a base with `levels` in its UNet and squares of `cells` latents, each `factor` pixels a side."""
    return sizes(cells * factor, grid(cells, levels) * factor)


@dataclass(frozen=True)
class Frame:
    """How one picture comes into its bucket: its `original` size, the size that it is `resized` to, the corner of the
    `crop` in that, and the `target`, the bucket's size.
    """

    original: Size
    resized: Size
    crop: Size
    target: Size

    @property
    def conditions(self) -> list[int]:
        """SDXL's six: original size, corner of the crop, target size."""
        return [*self.original, *self.crop, *self.target]

    def pixels(self, image: Image.Image) -> np.ndarray:
        """The picture in its bucket, (H, W, 3) uint8 RGB."""
        (height, width), (top, left), (rows, columns) = self.resized, self.crop, self.target
        resized = image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
        return np.asarray(resized)[top : top + rows, left : left + columns]

    def box(self, box: Box) -> tuple[Box, float]:
        """A box of the whole picture, as fractions of the crop, and the share of its area that is left."""
        if self.resized == self.target:
            return box, 1.0
        (height, width), (top, left), (rows, columns) = self.resized, self.crop, self.target
        x1, x2 = (min(max((x * width - left) / columns, 0.0), 1.0) for x in box[::2])
        y1, y2 = (min(max((y * height - top) / rows, 0.0), 1.0) for y in box[1::2])
        before = (box[2] - box[0]) * width * (box[3] - box[1]) * height
        return (x1, y1, x2, y2), (x2 - x1) * columns * (y2 - y1) * rows / before


def square(side: int) -> Frame:
    """The whole picture at the base's own size; its conditions say nothing of the size that it had."""
    return Frame((side, side), (side, side), (0, 0), (side, side))


def frame(picture: Size, among: Sequence[Size]) -> Frame:
    """The bucket whose aspect ratio is nearest to the picture's, the first of equals, with the centre of it."""
    height, width = picture
    aspect = math.log(width / height)
    rows, columns = target = min(among, key=lambda size: abs(math.log(size[1] / size[0]) - aspect))
    scale = max(rows / height, columns / width)
    resized = max(round(height * scale), rows), max(round(width * scale), columns)
    return Frame(picture, resized, (round((resized[0] - rows) / 2), round((resized[1] - columns) / 2)), target)


def kept(
    frame: Frame, names: Sequence[str], boxes: Sequence[Box], visible: float, slots: int
) -> tuple[list[str], list[Box], int]:
    """Names and boxes that a sample has in its frame, in their order, and how many fitted no slot.

    Left out are boxes of which less than `visible` is left, and the smallest where there are more than `slots`.
    """
    found = [(name, *frame.box(box)) for name, box in zip(names, boxes, strict=True)]
    seen = [(name, box) for name, box, share in found if share > 0 and share >= visible]
    area = [(x2 - x1) * (y2 - y1) for _, (x1, y1, x2, y2) in seen]
    largest = sorted(sorted(range(len(seen)), key=lambda i: -area[i])[:slots])
    return [seen[i][0] for i in largest], [seen[i][1] for i in largest], len(seen) - len(largest)
