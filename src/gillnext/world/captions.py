"""Captions about scenes: naming ones (objects without places) and spatial ones, with the relations that they state."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gillnext.world.scenes import Scene, SceneObject

MARGIN = 0.18  # centres must differ by this much before a caption calls one left of the other

_NAMING = ("{}", "图中有{}", "画面里有{}", "一张{}的图片", "{}的插画", "可爱的{}", "卡通风格的{}")


@dataclass(frozen=True)
class Relation:
    """`subject` (object index) is `relation` (left, right, above, below) of `reference`, or of the image's centre if None."""

    subject: int
    relation: str
    reference: int | None

    def to_row(self) -> list:
        return [self.subject, self.relation, self.reference]


def join(phrases: list[str]) -> str:
    """一只猫、一棵树和一座房子."""
    return phrases[0] if len(phrases) == 1 else "、".join(phrases[:-1]) + "和" + phrases[-1]


def naming(scene: Scene, rng: np.random.Generator) -> str:
    """A caption that names every object, in random order, and says nothing of places."""
    order = rng.permutation(len(scene.objects))
    phrases = [scene.objects[int(i)].kind.phrase for i in order]
    return _NAMING[int(rng.integers(len(_NAMING)))].format(join(phrases))


def centre(thing: SceneObject) -> tuple[float, float]:
    x1, y1, x2, y2 = thing.box
    return (x1 + x2) / 2, (y1 + y2) / 2


def holds(relation: str, subject: tuple[float, float], reference: tuple[float, float], margin: float = 0.0) -> bool:
    """Whether a relation holds between two centres, by more than `margin` of the image."""
    dx, dy = subject[0] - reference[0], subject[1] - reference[1]
    return {"left": -dx, "right": dx, "above": -dy, "below": dy}[relation] > margin
