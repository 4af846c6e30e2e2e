"""The square about a box that is filled in its place: cut out, drawn at a size of its own, and put back.

Squares are (x, y, side) in pixels, fractions allowed; boxes xyxy in [0, 1].
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from gillnext.layouts import Box

Square = tuple[float, float, float]
FILTER = Image.Resampling.BICUBIC


def square(box: Box, size: tuple[int, int], crop: float) -> Square:
    """The square about a box of a picture of `size` (H, W), its side `crop` longer sides of the box; as much as the
    picture's shorter side at most, and all of that where `crop` is 0. It lies within the picture.
    """
    height, width = size
    x1, y1, x2, y2 = box[0] * width, box[1] * height, box[2] * width, box[3] * height
    most = float(min(height, width))
    side = min(max(x2 - x1, y2 - y1) * crop, most) if crop else most
    x = min(max((x1 + x2 - side) / 2, 0.0), width - side)
    y = min(max((y1 + y2 - side) / 2, 0.0), height - side)
    return x, y, side


def cut(picture: np.ndarray, where: Square, side: int) -> np.ndarray:
    """The square of a picture (H, W, 3) uint8, (side, side, 3)."""
    x, y, length = where
    whole = Image.fromarray(picture)
    return np.asarray(whole.resize((side, side), FILTER, box=(x, y, x + length, y + length)))


def within(box: Box, where: Square, size: tuple[int, int]) -> Box:
    """The box in the square's own coordinates, cut at its border."""
    x, y, length = where
    corners = (box[0] * size[1] - x, box[1] * size[0] - y, box[2] * size[1] - x, box[3] * size[0] - y)
    x1, y1, x2, y2 = (min(max(float(v) / length, 0.0), 1.0) for v in corners)
    return x1, y1, x2, y2


def put(picture: np.ndarray, drawn: np.ndarray, where: Square) -> np.ndarray:
    """A copy of a picture (H, W, 3) uint8 whose whole pixels within the square are those of `drawn` (s, s, 3)."""
    x, y, length = where
    left, top = round(x), round(y)
    right, bottom = min(round(x + length), picture.shape[1]), min(round(y + length), picture.shape[0])
    scale, most = len(drawn) / length, float(len(drawn))
    x1, y1, x2, y2 = (min(max(v * scale, 0.0), most) for v in (left - x, top - y, right - x, bottom - y))
    found = picture.copy()
    sized = Image.fromarray(drawn).resize((right - left, bottom - top), FILTER, box=(x1, y1, x2, y2))
    found[top:bottom, left:right] = np.asarray(sized)
    return found
