"""Drawn scenes: which objects stand where, and the picture of it. Those of cut-outs are in `photographs.py`.

`sample(seed, stream, index)` is a pure function of its arguments, so any row of any corpus can be made
alone, in any order, by any worker. Streams keep the corpora apart (world, base, clip, annotator, evaluator,
features, test …).
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import ClassVar, cast

import numpy as np
from PIL import Image

from gillnext.miniatures.world.classes import CLASSES, Colour, ObjectClass
from gillnext.miniatures.world.drawing import gradient, paint
from gillnext.miniatures.world.kinds import Kind
from gillnext.runtime import seeds

Box = tuple[float, float, float, float]  # xyxy in [0, 1]

SIZE = 64  # pixels a side
SIDES = (0.28, 0.50)  # object sides, fractions of the image
ASPECT = 1.35  # largest ratio of an object's sides
OVERLAP = 0.04  # largest share of the smaller object that another may cover
COUNT_SHARES = (0.25, 0.45, 0.24, 0.06)  # scenes with 1, 2, 3, 4 objects


@dataclass(frozen=True)
class Thing:
    """An object of a scene: its kind, and the xyxy box in [0, 1] of all of it, whatever stands before it."""

    kind: Kind
    box: Box


@dataclass(frozen=True)
class SceneObject(Thing):
    """A drawn object: with its body colour and a seed for its shape's jitter."""

    kind: ObjectClass
    colour: tuple[float, float, float]
    shape_seed: int


@dataclass(frozen=True)
class Scene:
    """A picture's content. Objects of one scene are of different kinds; what comes later stands before what comes
    earlier. The ground goes from the colour `top` to `bottom`.
    """

    medium: ClassVar[str] = "drawing"

    top: tuple[float, float, float]
    bottom: tuple[float, float, float]
    objects: tuple[Thing, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(o.kind.name for o in self.objects)

    @property
    def boxes(self) -> np.ndarray:
        """(N, 4) xyxy in [0, 1]."""
        return np.array([o.box for o in self.objects]).reshape(-1, 4)


def _place(rng: np.random.Generator, taken: list[Box]) -> Box | None:
    for _ in range(40):
        w, h = rng.uniform(*SIDES, 2)
        if max(w, h) > ASPECT * min(w, h):
            continue
        x, y = rng.uniform(0, 1 - w), rng.uniform(0, 1 - h)
        box = (x, y, x + w, y + h)
        if all(cover(box, other) <= OVERLAP for other in taken):
            return cast(Box, tuple(round(float(v), 4) for v in box))
    return None


def cover(a: Box, b: Box) -> float:
    """What two boxes share, as a share of the smaller one."""
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    return w * h / min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))


def sample_boxes(rng: np.random.Generator, count: int) -> list[Box]:
    """`count` boxes from the world's prior (fewer only where 200 tries found no room)."""
    for _ in range(200):
        taken: list[Box] = []
        while len(taken) < count and (box := _place(rng, taken)):
            taken.append(box)
        if len(taken) == count:
            break
    return taken


def _rgb(values: np.ndarray) -> Colour:
    red, green, blue = map(float, values)
    return red, green, blue


def sample(seed: int, stream: str, index: int) -> Scene:
    """Scene `index` of a stream."""
    rng = seeds.rng("scene", seed, stream, index)
    count = 1 + int(rng.choice(len(COUNT_SHARES), p=COUNT_SHARES))
    boxes = sample_boxes(rng, count)
    kinds = [CLASSES[int(i)] for i in rng.permutation(len(CLASSES))[: len(boxes)]]
    objects = []
    for kind, box in zip(kinds, boxes, strict=True):
        base = np.asarray(kind.palette[int(rng.integers(len(kind.palette)))])
        colour = np.clip(base + rng.uniform(-0.06, 0.06, 3), 0, 1)
        objects.append(SceneObject(kind, box, _rgb(colour), int(rng.integers(2**31))))
    light = rng.uniform(0.72, 0.98, 3)
    top, bottom = light, np.clip(light + rng.uniform(-0.14, 0.14, 3), 0.55, 1)
    return Scene(_rgb(top), _rgb(bottom), tuple(objects))


def render(scene: Scene, size: int = SIZE) -> np.ndarray:
    """The picture, (size, size, 3) uint8 RGB."""
    canvas = gradient(size, scene.top, scene.bottom)
    for thing in cast("tuple[SceneObject, ...]", scene.objects):
        rng = seeds.rng("shape", thing.shape_seed)
        for shape, colour in thing.kind.draw(rng, thing.colour):
            paint(canvas, shape, colour, np.asarray(thing.box) * size)
    return np.floor(np.clip(canvas, 0, 1) * 255 + 0.5).astype(np.uint8)


def jpeg(image: np.ndarray) -> bytes:
    """The picture as the world's server sends it: JPEG, quality 92, no chroma subsampling."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=92, subsampling=0)
    return buffer.getvalue()
