"""What stories and dialogues share: places in words, objects that find a place, and what was told so far as a turn.

A fact is (object, relation, other object or None for the picture's centre), by name: it was told and still holds,
between box centres and by more than `captions.MARGIN`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from gillnext.conversations import Turn
from gillnext.layouts import Layout
from gillnext.miniatures.world import spatial_templates
from gillnext.miniatures.world.captions import MARGIN, centre, join
from gillnext.miniatures.world.scenes import OVERLAP, Box, Scene, Thing, cover
from gillnext.relations import CENTRE, DIRECTIONS, holds

T = TypeVar("T")

Fact = tuple[str, str, str | None]

TRIES = 60  # places that are tried for an object


@dataclass(frozen=True)
class Passage:
    """A text, the scene once it has been said, its objects' names in the order of first mention, and the facts."""

    text: str
    scene: Scene
    order: tuple[str, ...]
    facts: tuple[Fact, ...]

    def turn(self, picture: str = "") -> Turn:
        """The turn of a conversation whose picture lies at `picture`."""
        things = {thing.kind.name: thing for thing in self.scene.objects}
        caption = join([things[name].kind.phrase for name in self.order])
        layout = Layout(caption, self.order, tuple(things[name].box for name in self.order))
        number = {name: i for i, name in enumerate(self.order)}
        relations = tuple((number[a], relation, None if b is None else number[b]) for a, relation, b in self.facts)
        return Turn(self.text, picture, layout, relations)


def pick(rng: np.random.Generator, items: Sequence[T]) -> T:
    """One of `items`, each as likely."""
    return items[int(rng.integers(len(items)))]


def is_at(thing: Thing, relation: str, other: Thing | None, margin: float = MARGIN) -> bool:
    """Whether a relation holds between an object's centre and another's, or (None) the picture's."""
    return holds(relation, centre(thing), CENTRE if other is None else centre(other), margin)


def sides(thing: Thing, other: Thing | None = None) -> list[str]:
    """On which sides of another object, or of the picture's centre, an object is: none to two of `DIRECTIONS`."""
    return [d for d in DIRECTIONS if is_at(thing, d, other)]


def words(directions: Sequence[str], rng: np.random.Generator) -> str:
    """左上角 for two sides; 左边, 左侧 … for one."""
    characters = "".join(spatial_templates.CHARACTER[d] for d in directions)
    return characters + ("角" if len(directions) == 2 else pick(rng, spatial_templates.SUFFIXES[directions[0]]))


def settled(
    thing: Thing, others: Iterable[Thing], fits: Callable[[Thing], bool], rng: np.random.Generator
) -> Thing | None:
    """The object, of its own size, at a random place where it `fits` and hides nothing; None where there is none."""
    taken = [other.box for other in others]
    x1, y1, x2, y2 = thing.box
    w, h = x2 - x1, y2 - y1
    for x, y in rng.uniform(0, 1, (TRIES, 2)) * (1 - w, 1 - h):
        left, top = round(float(x), 4), round(float(y), 4)
        box: Box = (left, top, min(round(left + w, 4), 1.0), min(round(top + h, 4), 1.0))
        moved = replace(thing, box=box)
        if fits(moved) and all(cover(box, other) <= OVERLAP for other in taken):
            return moved
    return None
