"""Our vector code: shapes as signed distances, painted with anti-aliased edges. No fonts, no files.

Distances follow the usual analytic forms (exact for polygons; first-order for ellipses). Coordinates of
shapes are in the unit square; `paint` maps the square to a pixel box.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

Point = tuple[float, float]


class Shape(Protocol):
    """Anything with a signed distance, in pixels, negative inside."""

    def distance(self, x: np.ndarray, y: np.ndarray, at: Point, by: Point) -> np.ndarray:
        """Distance of the pixel centres (x, y), for the unit square placed `at` (px) and scaled `by` (px)."""
        ...


@dataclass(frozen=True)
class Ellipse:
    """Centre and radii."""

    cx: float
    cy: float
    rx: float
    ry: float

    def distance(self, x: np.ndarray, y: np.ndarray, at: Point, by: Point) -> np.ndarray:
        rx, ry = max(self.rx * by[0], 1e-3), max(self.ry * by[1], 1e-3)
        dx, dy = x - (at[0] + self.cx * by[0]), y - (at[1] + self.cy * by[1])
        k = np.sqrt((dx / rx) ** 2 + (dy / ry) ** 2)
        slope = np.sqrt((dx / rx**2) ** 2 + (dy / ry**2) ** 2)
        return np.where(slope > 1e-9, k * (k - 1) / np.maximum(slope, 1e-9), -min(rx, ry))


@dataclass(frozen=True)
class Ring:
    """An ellipse's outline, `width` thick (in the unit square)."""

    cx: float
    cy: float
    rx: float
    ry: float
    width: float

    def distance(self, x: np.ndarray, y: np.ndarray, at: Point, by: Point) -> np.ndarray:
        line = Ellipse(self.cx, self.cy, self.rx, self.ry).distance(x, y, at, by)
        return np.abs(line) - self.width * min(by) / 2


@dataclass(frozen=True)
class Polygon:
    """Any simple polygon."""

    points: tuple[Point, ...]

    def distance(self, x: np.ndarray, y: np.ndarray, at: Point, by: Point) -> np.ndarray:
        v = np.asarray(self.points) * by + at
        best = np.full(np.broadcast_shapes(x.shape, y.shape), np.inf)
        inside = np.zeros(best.shape, bool)
        for (ax, ay), (bx, by_) in zip(v, np.roll(v, 1, axis=0), strict=True):
            ex, ey, wx, wy = bx - ax, by_ - ay, x - ax, y - ay
            t = np.clip((wx * ex + wy * ey) / max(ex * ex + ey * ey, 1e-12), 0, 1)
            best = np.minimum(best, (wx - ex * t) ** 2 + (wy - ey * t) ** 2)
            crosses = (ay > y) != (by_ > y)
            if ay != by_:
                inside ^= crosses & (x < ex * (y - ay) / ey + ax)
        return np.where(inside, -1.0, 1.0) * np.sqrt(best)


def rectangle(x1: float, y1: float, x2: float, y2: float) -> Polygon:
    return Polygon(((x1, y1), (x2, y1), (x2, y2), (x1, y2)))


def paint(canvas: np.ndarray, shape: Shape, colour: tuple[float, float, float], box_px: np.ndarray) -> None:
    """Paint `shape` into `canvas` (H, W, 3) in place; `box_px` is xyxy in pixels."""
    h, w = canvas.shape[:2]
    x0, y0 = (max(int(v) - 2, 0) for v in box_px[:2])
    x1, y1 = min(int(box_px[2]) + 3, w), min(int(box_px[3]) + 3, h)
    x = np.arange(x0, x1)[None, :] + 0.5
    y = np.arange(y0, y1)[:, None] + 0.5
    at = (float(box_px[0]), float(box_px[1]))
    by = (float(box_px[2] - box_px[0]), float(box_px[3] - box_px[1]))
    cover = np.clip(0.5 - shape.distance(x, y, at, by), 0, 1)[..., None]
    region = canvas[y0:y1, x0:x1]
    region += cover * (np.asarray(colour) - region)


def gradient(size: int, top: tuple[float, float, float], bottom: tuple[float, float, float]) -> np.ndarray:
    """A soft vertical background, (size, size, 3) in [0, 1]."""
    t = ((np.arange(size) + 0.5) / size)[:, None, None]
    column = np.asarray(top) * (1 - t) + np.asarray(bottom) * t
    return np.repeat(column, size, axis=1)
