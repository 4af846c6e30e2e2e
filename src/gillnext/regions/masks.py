"""Boxes as masks of pixels, and pictures put together by them.

Boxes are xyxy in [0, 1]. What is outside a box keeps its values to the bit: the seam is faded inside of it.

Letters: N pictures, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gillnext.layouts import Box


def pixels(box: Box, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The box in whole pixels (x1, y1, x2, y2) of a picture of `size` (H, W), at least one pixel a side."""
    height, width = size
    x1, x2 = (round(v * width) for v in box[::2])
    y1, y2 = (round(v * height) for v in box[1::2])
    x1, y1 = min(x1, width - 1), min(y1, height - 1)
    return x1, y1, max(x2, x1 + 1), max(y2, y1 + 1)


def mask(box: Box, size: tuple[int, int]) -> np.ndarray:
    """(H, W) float32: 1 inside the box, 0 outside."""
    x1, y1, x2, y2 = pixels(box, size)
    found = np.zeros(size, np.float32)
    found[y1:y2, x1:x2] = 1
    return found


def feathered(box: Box, size: tuple[int, int], feather: int) -> np.ndarray:
    """(H, W) float32: 0 outside the box, rising over `feather` pixels from its border to 1. No seam is faded along the
    picture's own border, where nothing is beside it.
    """
    x1, y1, x2, y2 = pixels(box, size)
    height, width = size

    def ramp(low: int, high: int, length: int) -> np.ndarray:
        at = np.arange(length) + 0.5
        left = np.full(length, np.inf) if low == 0 else (at - low + 0.5) / (feather + 1)
        right = np.full(length, np.inf) if high == length else (high - at + 0.5) / (feather + 1)
        return np.where((at > low) & (at < high), np.clip(np.minimum(left, right), 0, 1), 0)

    return np.minimum(ramp(y1, y2, height)[:, None], ramp(x1, x2, width)[None]).astype(np.float32)


def compose(sources: np.ndarray, filled: np.ndarray, boxes: Sequence[Box], feather: int) -> np.ndarray:
    """Pictures (N, H, W, 3) uint8: `filled` inside their boxes, and `sources`, to the bit, outside."""
    parts = []
    for source, new, box in zip(sources, filled, boxes, strict=True):
        alpha_HW1 = feathered(box, source.shape[:2], feather)[..., None]
        mixed = np.floor(source + alpha_HW1 * (new.astype(np.float32) - source) + 0.5).astype(np.uint8)
        parts.append(np.where(alpha_HW1 > 0, mixed, source))
    return np.stack(parts) if parts else np.zeros((0, *sources.shape[1:]), np.uint8)
