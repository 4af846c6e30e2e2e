"""The colours of drawn objects, by name: what an edit that recolours one can ask for."""

from __future__ import annotations

import numpy as np

from gillnext.miniatures.world.classes import ObjectClass
from gillnext.miniatures.world.kinds import Kind
from gillnext.miniatures.world.scenes import SceneObject, Thing

# English key -> names of the two colours of its palette; those that are nearly one colour have none.
NAMES: dict[str, tuple[str, str]] = {
    "house": ("红色", "蓝色"),
    "car": ("红色", "蓝色"),
    "cat": ("橙色", "灰色"),
    "flower": ("粉色", "紫色"),
    "fish": ("橙色", "青色"),
    "boat": ("棕色", "蓝色"),
    "cup": ("蓝色", "红色"),
    "apple": ("红色", "绿色"),
    "umbrella": ("紫色", "黄色"),
    "balloon": ("粉色", "青色"),
}


def index_of(thing: Thing) -> int | None:
    """The place of an object's colour in its palette; None of kinds whose colours have no names."""
    if not isinstance(thing, SceneObject) or not isinstance(thing.kind, ObjectClass) or thing.kind.key not in NAMES:
        return None
    apart = [float(np.abs(np.subtract(thing.colour, one)).sum()) for one in thing.kind.palette]
    return int(np.argmin(apart))


def name_of(thing: Thing) -> str | None:
    """The name of an object's colour; None where it has none."""
    index = index_of(thing)
    return None if index is None else NAMES[thing.kind.key][index]  # type: ignore[attr-defined]


def phrase(kind: Kind, colour: str) -> str:
    """The noun phrase with a colour, e.g. 一辆红色的汽车."""
    return f"一{kind.measure}{colour}的{kind.name}"
