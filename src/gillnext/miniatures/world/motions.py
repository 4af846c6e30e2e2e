"""What happens in a clip of the drawn world: an object drops, is covered, or moves on; and how its instruction says so.

A clip is 21 scenes: 20 frames that are seen, and the target. Tasks differ in what tells the target:

- drop: the named object hangs still in all frames and lies on the ground in the target. The instruction tells which.
- cover: the second object comes a quarter of the way to the first, and hides it in the target.
- move: the object moves along an axis in the first frames, then rests; in the target it has gone as far again. Its rest
  lies in the middle between start and target, so that the last frame does not tell the direction.

Boxes are xyxy in [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gillnext.miniatures.world.scenes import Box, Scene, cover

TASKS = ("drop", "cover", "move")
LAST = 19  # the last frame that is seen; the target is the next
EDGE, GROUND = 0.04, 0.96  # of where objects stand
TRIES = 200
COMES = (8, 0.25)  # the frame after which a covering object sets out, and the share of its way that is seen
BESIDE = 0.5  # share of moving objects that have another beside them
TEMPLATES = {
    "drop": ("让{A}掉到下面", "{A}往下掉", "把{A}放下"),
    "cover": ("用{B}盖住{A}", "把{B}放到{A}上面盖住它", "{A}被{B}盖住"),
    "move": ("让{A}接着移动", "{A}继续往前", "把{A}再移过去"),
}


@dataclass(frozen=True)
class Motion:
    """What a clip shows: the boxes of each object by frame, (F, K, 4) with the target's last, in the order that they
    are
    drawn; the object that the instruction acts on, and the one that hides it (-1: none).
    """

    task: str
    boxes_FK4: np.ndarray
    acted: int
    hiding: int = -1

    @property
    def moved(self) -> int:
        """The object whose place differs between the last frame and the target."""
        return self.acted if self.hiding < 0 else self.hiding

    def instruction(self, names: Sequence[str], rng: np.random.Generator) -> str:
        """The instruction, with one of the task's templates."""
        templates = TEMPLATES[self.task]
        return templates[int(rng.integers(len(templates)))].format(A=names[self.acted], B=names[self.hiding])


def _side(rng: np.random.Generator, low: float, high: float) -> np.ndarray:
    """Width and height."""
    return rng.uniform(low, high, 2)


def _at(centre: np.ndarray, size: np.ndarray) -> np.ndarray:
    return np.concatenate([centre - size / 2, centre + size / 2])


def _somewhere(rng: np.random.Generator, size: np.ndarray, taken: Sequence[np.ndarray]) -> np.ndarray | None:
    """A box of this size that touches none of `taken`; None where no try finds room."""
    for _ in range(TRIES):
        corner = rng.uniform(EDGE, 1 - EDGE - size)
        box = np.concatenate([corner, corner + size])
        if all(cover(_box(box), _box(other)) <= 0.02 for other in taken):
            return box
    return None


def _box(values: Any) -> Box:
    x1, y1, x2, y2 = (float(v) for v in values)
    return x1, y1, x2, y2


def _still(*boxes: np.ndarray) -> np.ndarray:
    """Boxes that stay where they are, (F, K, 4)."""
    return np.repeat(np.stack(boxes)[None], LAST + 2, 0)


def _drop(rng: np.random.Generator) -> Motion | None:
    size = _side(rng, 0.28, 0.36)
    x, y = rng.uniform(EDGE, 1 - EDGE - size[0]), rng.uniform(EDGE, 0.22)
    start = np.array([x, y, *(np.array([x, y]) + size)])
    end = start + np.array([0, 1, 0, 1]) * (GROUND - start[3])
    swept = np.array([*start[:2], *end[2:]])
    other = _somewhere(rng, _side(rng, 0.28, 0.36), [swept])
    if other is None:
        return None
    boxes_FK4 = _still(start, other)
    boxes_FK4[-1, 0] = end
    return Motion("drop", boxes_FK4, 0)


def _cover(rng: np.random.Generator) -> Motion | None:
    hidden_size = _side(rng, 0.26, 0.32)
    size = hidden_size + rng.uniform(0.05, 0.1, 2)
    hidden = _somewhere(rng, size, [])  # leaves room for what hides it
    if hidden is None:
        return None
    centre = (hidden[:2] + hidden[2:]) / 2
    hidden, end = _at(centre, hidden_size), _at(centre, size)
    start = _somewhere(rng, size, [end])
    if start is None:
        return None
    boxes_FK4, (after, share) = _still(hidden, start), COMES
    way = np.clip((np.arange(LAST + 1) - after) / (LAST - after), 0, 1)[:, None] * share
    boxes_FK4[:-1, 1] += way * (end - start)
    boxes_FK4[-1, 1] = end
    return Motion("cover", boxes_FK4, 0, 1)


def _move(rng: np.random.Generator) -> Motion | None:
    size = _side(rng, 0.28, 0.32)
    axis, way = int(rng.integers(2)), rng.uniform(0.22, 0.30) * (1 if rng.random() < 0.5 else -1)
    room = np.full(2, EDGE) + np.array([abs(way), 0.0])[:: 1 - 2 * axis]
    corner = rng.uniform(room, 1 - room - size)
    rest, step = np.concatenate([corner, corner + size]), np.zeros(4)
    step[axis::2] = way
    swept = np.concatenate([np.minimum(rest - step, rest + step)[:2], np.maximum(rest - step, rest + step)[2:]])
    boxes = [rest]
    if rng.random() < BESIDE:
        other = _somewhere(rng, _side(rng, 0.26, 0.34), [swept])
        if other is None:
            return None
        boxes.append(other)
    boxes_FK4, stops = _still(*boxes), int(rng.integers(7, 12))
    left = np.clip(1 - np.arange(LAST + 1) / stops, 0, 1)[:, None]
    boxes_FK4[:-1, 0] -= left * step
    boxes_FK4[-1, 0] += step
    return Motion("move", boxes_FK4, 0)


_MAKE = {"drop": _drop, "cover": _cover, "move": _move}


def motion(task: str, rng: np.random.Generator) -> Motion:
    """A motion of this task, of boxes that do not touch but where one hides another."""
    while True:
        found = _MAKE[task](rng)
        if found is not None:
            return found


def camera(jitter: float, rng: np.random.Generator, keep: float = 0.8) -> np.ndarray:
    """Where everything is shifted to in each frame, (F, 2): a walk that forgets, of deviation `jitter`."""
    walk, shifts = rng.normal(0, jitter, 2), []
    for _ in range(LAST + 2):
        shifts.append(walk)
        walk = keep * walk + rng.normal(0, jitter * (1 - keep**2) ** 0.5, 2)
    return np.stack(shifts)


def staged(scene: Scene, boxes_K4: np.ndarray, shift: np.ndarray) -> Scene:
    """The scene's first K objects in these boxes, as a camera sees them that has moved by `shift`."""
    moved = boxes_K4 + np.tile(shift, 2)
    things = [replace(thing, box=_box(box)) for thing, box in zip(scene.objects, moved, strict=False)]
    return replace(scene, objects=tuple(things))
