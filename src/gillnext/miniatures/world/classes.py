"""The object classes of Mini-Wukong: Chinese names, measure words, and each class's own drawing.

A drawing is a list of (shape, colour) in the unit square, painted in order; together the shapes touch all
four sides of the square, so that an object's box is tight by construction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gillnext.miniatures.world.drawing import Ellipse, Polygon, Ring, Shape, rectangle
from gillnext.miniatures.world.kinds import Kind

Colour = tuple[float, float, float]  # RGB in [0, 1]
Drawing = list[tuple[Shape, Colour]]

DARK: Colour = (0.16, 0.14, 0.16)
BROWN: Colour = (0.45, 0.28, 0.13)
GREEN: Colour = (0.20, 0.55, 0.22)
WHITE: Colour = (0.97, 0.97, 0.94)


@dataclass(frozen=True)
class ObjectClass(Kind):
    """One drawn kind of object. `palette` lists its body colours; `draw(rng, body)` gives its shapes; `key` is its name
    in English.
    """

    key: str
    palette: tuple[Colour, ...]
    draw: Callable[[np.random.Generator, Colour], Drawing]


def _tree(rng: np.random.Generator, body: Colour) -> Drawing:
    w = rng.uniform(0.07, 0.11)
    return [(rectangle(0.5 - w, 0.55, 0.5 + w, 1), BROWN), (Ellipse(0.5, 0.36, 0.5, 0.36), body)]


def _house(rng: np.random.Generator, body: Colour) -> Drawing:
    eaves, door = rng.uniform(0.40, 0.48), rng.uniform(0.38, 0.46)
    return [
        (rectangle(0.08, eaves, 0.92, 1), (0.93, 0.87, 0.72)),
        (Polygon(((0, eaves + 0.02), (0.5, 0), (1, eaves + 0.02))), body),
        (rectangle(door, 0.66, door + 0.18, 1), BROWN),
    ]


def _car(rng: np.random.Generator, body: Colour) -> Drawing:
    left = rng.uniform(0.16, 0.26)
    cabin = Polygon(((left, 0.45), (left + 0.12, 0), (0.70, 0), (0.84, 0.45)))
    window = Polygon(((left + 0.09, 0.40), (left + 0.17, 0.10), (0.66, 0.10), (0.74, 0.40)))
    return [
        (cabin, body),
        (window, (0.75, 0.90, 0.97)),
        (rectangle(0, 0.40, 1, 0.80), body),
        (Ellipse(0.24, 0.80, 0.16, 0.20), DARK),
        (Ellipse(0.76, 0.80, 0.16, 0.20), DARK),
    ]


def _cat(rng: np.random.Generator, body: Colour) -> Drawing:
    eye = rng.uniform(0.50, 0.58)
    return [
        (Polygon(((0.04, 0.55), (0.08, 0), (0.45, 0.30))), body),
        (Polygon(((0.96, 0.55), (0.92, 0), (0.55, 0.30))), body),
        (Ellipse(0.5, 0.60, 0.5, 0.40), body),
        (Ellipse(0.30, eye, 0.08, 0.10), DARK),
        (Ellipse(0.70, eye, 0.08, 0.10), DARK),
        (Polygon(((0.42, 0.72), (0.58, 0.72), (0.5, 0.82))), (0.95, 0.60, 0.62)),
    ]


def _flower(rng: np.random.Generator, body: Colour) -> Drawing:
    r = rng.uniform(0.10, 0.13)
    return [
        (rectangle(0.46, 0.5, 0.54, 1), GREEN),
        (Ellipse(0.68, 0.82, 0.16, 0.07), GREEN),
        (Ellipse(0.24, 0.34, 0.24, 0.17), body),
        (Ellipse(0.76, 0.34, 0.24, 0.17), body),
        (Ellipse(0.5, 0.17, 0.19, 0.17), body),
        (Ellipse(0.5, 0.51, 0.19, 0.17), body),
        (Ellipse(0.5, 0.34, r, r), (0.98, 0.85, 0.25)),
    ]


def _fish(rng: np.random.Generator, body: Colour) -> Drawing:
    tip = rng.uniform(0.08, 0.18)
    return [
        (Polygon(((0.60, 0.5), (1, tip), (1, 1 - tip))), body),
        (Ellipse(0.40, 0.5, 0.40, 0.5), body),
        (Ellipse(0.20, 0.40, 0.06, 0.09), WHITE),
        (Ellipse(0.20, 0.40, 0.03, 0.05), DARK),
        (Polygon(((0.40, 0.35), (0.62, 0.5), (0.40, 0.65))), WHITE),
    ]


def _boat(rng: np.random.Generator, body: Colour) -> Drawing:
    sail = rng.uniform(0.86, 0.96)
    return [
        (rectangle(0.46, 0, 0.52, 0.72), BROWN),
        (Polygon(((0.55, 0.04), (sail, 0.60), (0.55, 0.60))), WHITE),
        (Polygon(((0.43, 0.16), (0.43, 0.60), (0.12, 0.60))), WHITE),
        (Polygon(((0, 0.66), (1, 0.66), (0.82, 1), (0.18, 1))), body),
    ]


def _cup(rng: np.random.Generator, body: Colour) -> Drawing:
    foot = rng.uniform(0.06, 0.14)
    return [
        (Ring(0.70, 0.46, 0.25, 0.27, 0.10), body),
        (Polygon(((0, 0), (0.76, 0), (0.76 - foot, 1), (foot, 1))), body),
        (rectangle(0.04, 0.14, 0.72, 0.24), WHITE),
    ]


def _apple(rng: np.random.Generator, body: Colour) -> Drawing:
    leaf = rng.uniform(0.64, 0.70)
    return [
        (Ellipse(0.33, 0.61, 0.33, 0.39), body),
        (Ellipse(0.67, 0.61, 0.33, 0.39), body),
        (rectangle(0.46, 0, 0.53, 0.34), BROWN),
        (Ellipse(leaf, 0.12, 0.16, 0.08), GREEN),
    ]


def _umbrella(rng: np.random.Generator, body: Colour) -> Drawing:
    angles = np.linspace(np.pi, 0, 13)
    dome = [(0.5 + 0.5 * float(np.cos(a)), 0.52 - 0.52 * float(np.sin(a))) for a in angles]
    notch = rng.uniform(0.42, 0.46)
    dome += [(0.84, notch), (0.67, 0.52), (0.5, notch), (0.33, 0.52), (0.16, notch)]
    return [
        (rectangle(0.47, 0.35, 0.53, 0.94), DARK),
        (rectangle(0.34, 0.92, 0.53, 1), DARK),
        (Polygon(tuple(dome)), body),
    ]


def _balloon(rng: np.random.Generator, body: Colour) -> Drawing:
    shine = rng.uniform(0.26, 0.34)
    return [
        (rectangle(0.47, 0.78, 0.53, 1), DARK),
        (Ellipse(0.5, 0.40, 0.5, 0.40), body),
        (Polygon(((0.5, 0.74), (0.60, 0.86), (0.40, 0.86))), body),
        (Ellipse(shine, 0.24, 0.09, 0.09), WHITE),
    ]


def _star(rng: np.random.Generator, body: Colour) -> Drawing:
    inner = rng.uniform(0.20, 0.25)
    turns = -np.pi / 2 + np.arange(10) * np.pi / 5
    radii = np.where(np.arange(10) % 2 == 0, 0.5, inner)
    points = np.stack([np.cos(turns) * radii, np.sin(turns) * radii], 1)
    low, high = points.min(0), points.max(0)
    return [(Polygon(tuple((float(x), float(y)) for x, y in (points - low) / (high - low))), body)]


_Maker = Callable[[np.random.Generator, Colour], Drawing]
_ROWS: tuple[tuple[str, str, str, tuple[Colour, ...], _Maker], ...] = (
    ("tree", "树", "棵", ((0.18, 0.58, 0.24), (0.40, 0.66, 0.20)), _tree),
    ("house", "房子", "座", ((0.78, 0.25, 0.18), (0.25, 0.35, 0.60)), _house),
    ("car", "汽车", "辆", ((0.85, 0.15, 0.15), (0.15, 0.35, 0.80)), _car),
    ("cat", "猫", "只", ((0.90, 0.58, 0.22), (0.55, 0.55, 0.58)), _cat),
    ("flower", "花", "朵", ((0.95, 0.45, 0.65), (0.65, 0.40, 0.85)), _flower),
    ("fish", "鱼", "条", ((0.98, 0.55, 0.15), (0.20, 0.65, 0.75)), _fish),
    ("boat", "船", "艘", ((0.60, 0.30, 0.15), (0.15, 0.25, 0.45)), _boat),
    ("cup", "杯子", "个", ((0.20, 0.50, 0.70), (0.85, 0.40, 0.35)), _cup),
    ("apple", "苹果", "个", ((0.85, 0.12, 0.16), (0.55, 0.75, 0.20)), _apple),
    ("umbrella", "雨伞", "把", ((0.55, 0.20, 0.60), (0.95, 0.75, 0.15)), _umbrella),
    ("balloon", "气球", "只", ((0.95, 0.30, 0.45), (0.30, 0.75, 0.85)), _balloon),
    ("star", "星星", "颗", ((0.99, 0.82, 0.15), (0.99, 0.68, 0.25)), _star),
)

CLASSES: tuple[ObjectClass, ...] = tuple(
    ObjectClass(i, name, measure, key, palette, draw) for i, (key, name, measure, palette, draw) in enumerate(_ROWS)
)
BY_NAME: dict[str, ObjectClass] = {c.name: c for c in CLASSES}
