"""Boxes. Inside, every box is xyxy in [0, 1]; every other convention is named and converted at the boundary.

A layout's boxes are float arrays `(N, 4)`: x1, y1, x2, y2 with 0 ≤ x1 < x2 ≤ 1 and 0 ≤ y1 < y2 ≤ 1,
origin at the top left, as fractions of the image's width and height.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from numbers import Real

import numpy as np

from gillnext.runtime.errors import UserError


class Convention(StrEnum):
    """How four numbers name a box."""

    UNIT = "unit"  # xyxy, fractions of the image
    THOUSANDTHS = "thousandths"  # xyxy, 0–1000, Qwen2-VL's own
    PIXELS = "pixels"  # xyxy in pixels of an image of known size
    AUTO = "auto"  # told from the numbers; refused where they fit no convention or more than one


def detect(boxes: Sequence[Sequence[float]]) -> Convention:
    """Which of UNIT and THOUSANDTHS a list of boxes is written in; raises `ValueError` where it cannot be told."""
    values = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    if values.size == 0 or values.max() <= 1:
        return Convention.UNIT
    if values.min() < 0 or values.max() > 1000:
        raise ValueError("coordinates are neither in 0–1 nor in 0–1000")
    if (values.max(axis=1) <= 1).any():
        raise ValueError("some boxes are in 0–1 and others in 0–1000")
    return Convention.THOUSANDTHS


def is_number(value: object) -> bool:
    """Whether `value` is a finite number that a float can hold; true and false are none."""
    if type(value) is float:  # most are, and a look at Real takes four times as long
        return math.isfinite(value)
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _is_four(box: Sequence[object]) -> bool:
    return len(box) == 4 and all(map(is_number, box))


def problem(box: Sequence[float]) -> str | None:
    """Why `box` is not xyxy in [0, 1], or None where it is."""
    if len(box) != 4:
        return f"has {len(box)} numbers instead of 4"
    if not all(map(is_number, box)):
        return "has a coordinate that is not a finite number"
    x1, y1, x2, y2 = box
    if min(box) < 0 or max(box) > 1:
        guess = " (it looks like 0–1000 coordinates)" if 1 < max(box) <= 1000 and min(box) >= 0 else ""
        return f"is out of the range 0–1{guess}"
    if x1 >= x2 or y1 >= y2:
        return "is reversed or empty: it must have x1 < x2 and y1 < y2"
    return None


def check(box: Sequence[float], where: str) -> tuple[float, float, float, float]:
    """`box` as a tuple, or a `UserError` that names `where` it stood; never clamps."""
    if reason := problem(box):
        raise UserError(
            f"box {list(box)!r:.80} {reason}",
            where=where,
            remedy="write boxes as [x1, y1, x2, y2] in fractions of the image, or name their convention",
        )
    x1, y1, x2, y2 = (float(v) for v in box)
    return x1, y1, x2, y2


def to_unit(
    boxes: Sequence[Sequence[float]],
    convention: Convention | str,
    *,
    size: tuple[int, int] | None = None,
    where: str = "boxes",
    names: Sequence[str] = (),
) -> list[tuple[float, float, float, float]]:
    """Convert to xyxy in [0, 1] and check; errors tell a box by number and, where given, name.

    `size` is (width, height), needed for PIXELS only.
    """
    convention = Convention(convention)
    if convention is Convention.AUTO:
        try:
            convention = detect([box for box in boxes if _is_four(box)])
        except ValueError as error:
            raise UserError(str(error), where=where, remedy="name the convention of the boxes") from error
    if convention is Convention.PIXELS:
        if size is None:
            raise UserError("boxes in pixels need the image's size", where=where)
        scale = (size[0], size[1], size[0], size[1])
    else:
        scale = (1000,) * 4 if convention is Convention.THOUSANDTHS else (1,) * 4
    converted = [
        [v / s for v, s in zip(box, scale, strict=True)] if _is_four(box) else box  # `check` says what is wrong with it
        for box in boxes
    ]
    labels = [f"box {i}" + (f" ({names[i]})" if i < len(names) else "") for i in range(len(converted))]
    return [check(box, f"{where}, {which}") for box, which in zip(converted, labels, strict=True)]


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of every pair: (N, 4) and (M, 4) to (N, M), in [0, 1]."""
    a, b = np.asarray(a, float).reshape(-1, 4), np.asarray(b, float).reshape(-1, 4)
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inter = np.clip(high - low, 0, None).prod(-1)
    area_a, area_b = (np.clip(x[:, 2:] - x[:, :2], 0, None).prod(-1) for x in (a, b))
    return inter / np.maximum(area_a[:, None] + area_b[None] - inter, 1e-12)


def centres(boxes: np.ndarray) -> np.ndarray:
    """Box centres, (N, 4) to (N, 2), in the boxes' own unit."""
    boxes = np.asarray(boxes, float).reshape(-1, 4)
    return (boxes[:, :2] + boxes[:, 2:]) / 2
