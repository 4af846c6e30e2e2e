"""Captions about scenes: naming ones (objects, no places), spatial ones with what they state, and weak ones.

Every caption but a naming one belongs to a split: the classifier is trained on captions of split "train",
the shards are written in split "world", and the two share no sentence template (`world.spatial_templates`) and no
filler word (`world.words`). Captions of web noise are made in `world.noise`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gillnext.miniatures.world import spatial_templates
from gillnext.miniatures.world.classes import CLASSES
from gillnext.miniatures.world.kinds import Kind
from gillnext.miniatures.world.noise import noise
from gillnext.miniatures.world.scenes import Scene, Thing
from gillnext.miniatures.world.spatial_templates import OPPOSITE, Split
from gillnext.relations import CENTRE, DIRECTIONS, Point, holds

__all__ = [
    "MARGIN", "Relation", "absent", "centre", "join", "naming", "noise", "spatial",
    "spatial_family", "weak",
]  # fmt: skip

MARGIN = 0.18  # centres must differ by this much before a caption calls one left of the other

_NAMING = {
    "drawing": ("{}", "图中有{}", "画面里有{}", "一张{}的图片", "{}的插画", "可爱的{}", "卡通风格的{}"),
    "photograph": ("{}", "图中有{}", "画面里有{}", "一张{}的图片", "{}的照片", "真实的{}", "实拍的{}"),
}


@dataclass(frozen=True)
class Relation:
    """Object `subject` is left, right, above or below of object `reference` (None: of the image's centre)."""

    subject: int
    relation: str
    reference: int | None

    def to_row(self) -> list:
        return [self.subject, self.relation, self.reference]


Stated = tuple[str, list[Relation]]


def join(phrases: list[str]) -> str:
    """一只猫、一棵树和一座房子."""
    return phrases[0] if len(phrases) == 1 else "、".join(phrases[:-1]) + "和" + phrases[-1]


def naming(scene: Scene, rng: np.random.Generator) -> str:
    """A caption that names every object, in random order, and says nothing of places."""
    order = rng.permutation(len(scene.objects))
    phrases = [scene.objects[int(i)].kind.phrase for i in order]
    templates = _NAMING[scene.medium]
    return templates[int(rng.integers(len(templates)))].format(join(phrases))


def centre(thing: Thing) -> Point:
    x1, y1, x2, y2 = thing.box
    return (x1 + x2) / 2, (y1 + y2) / 2


def _pick(rng: np.random.Generator, items):
    return items[int(rng.integers(len(items)))]


class _Writer:
    """One attempt at a strongly spatial caption: a method a family; None where nothing of it holds."""

    def __init__(self, scene: Scene, rng: np.random.Generator, split: Split) -> None:
        self.rng, self.split, self.templates = rng, split, spatial_templates.SPATIAL[split]
        self.things = scene.objects
        self.centres = [centre(thing) for thing in scene.objects]
        self.order = [int(i) for i in rng.permutation(len(scene.objects))]

    def full(self, i: int) -> str:
        return self.things[i].kind.phrase

    def name(self, i: int) -> str:
        return self.things[i].kind.name

    def is_(self, i: int, relation: str, j: int | None) -> bool:
        return holds(relation, self.centres[i], CENTRE if j is None else self.centres[j], MARGIN)

    def words(self, relation: str) -> tuple[str, str]:
        """The direction's word and its opposite's, e.g. 左侧 and 右侧."""
        suffix = _pick(self.rng, spatial_templates.SUFFIXES[relation])
        return spatial_templates.CHARACTER[relation] + suffix, spatial_templates.CHARACTER[OPPOSITE[relation]] + suffix

    def template(self, family: str) -> str:
        return _pick(self.rng, self.templates[family])

    def pair(self) -> Stated | None:
        """左边是一棵树，右边是一座房子: each on its own half, two objects a side at most."""
        n = len(self.things)
        for relation in self.rng.permutation(["left", "above"]):
            axis = 0 if relation == "left" else 1
            low = [i for i in self.order if self.centres[i][axis] < 0.5]
            high = [i for i in self.order if self.centres[i][axis] >= 0.5]
            apart = all(self.is_(i, relation, j) for i in low for j in high)
            if n >= 2 and low and high and apart:
                here, there = self.words(relation)
                a, b = (join([self.full(i) for i in side]) for side in (low, high))
                text = self.template("pair").format(d=here, e=there, A=a, B=b)
                return text, [Relation(i, str(relation), j) for i in low for j in high]
        return None

    def row(self) -> Stated | None:
        """从左到右依次是一只猫、一棵树和一座房子, or 左边是…，中间是…，右边是…."""
        if len(self.things) < 2:
            return None
        for relation in self.rng.permutation(["left", "above"]):
            axis = 0 if relation == "left" else 1
            line = [i for _, i in sorted((self.centres[i][axis], i) for i in self.order)]
            steps = list(itertools.pairwise(line))
            if not all(self.is_(i, relation, j) for i, j in steps):
                continue
            here, there = self.words(relation)
            names = [self.full(i) for i in line]
            if len(line) == 3 and self.rng.random() < 0.5:
                text = self.template("middle").format(d=here, e=there, A=names[0], M=names[1], B=names[2])
            else:
                along = self.templates["along" if axis == 0 else "down"]
                text = _pick(self.rng, along).format(L=join(names))
            return text, [Relation(i, str(relation), j) for i, j in steps]
        return None

    def placed(self, i: int) -> Stated | None:
        """一只猫在图的左上角: an object in the image."""
        found = [d for d in DIRECTIONS if self.is_(i, d, None)]
        if not found:
            return None
        relations = [Relation(i, d, None) for d in found]
        if len(found) == 2:
            corner = "".join(spatial_templates.CHARACTER[d] for d in found) + "角"
            return self.template("place").format(d=corner, A=self.full(i)), relations
        return self.template("place").format(d=self.words(found[0])[0], A=self.full(i)), relations

    def relative(self, i: int, mentioned: list[int], reference: int | None = None) -> Stated | None:
        """猫在树的左边: object i by one that was mentioned before, or by `reference`, which is named here."""
        others = mentioned if reference is None else [reference]
        found = [(d, j) for j in others for d in DIRECTIONS if self.is_(i, d, j)]
        if not found:
            return None
        relation, j = _pick(self.rng, found)
        b = self.full(j) if j not in mentioned and self.rng.random() < 0.5 else self.name(j)
        a = self.full(i) if self.rng.random() < 0.75 else self.name(i)
        text = self.template("relative").format(d=self.words(relation)[0], A=a, B=b)
        return text, [Relation(i, relation, j)]

    def chain(self) -> Stated | None:
        """A clause for every object, each by the image or by an object mentioned before."""
        first, rest = self.order[0], self.order[1:]
        opening, mentioned = None, [first]
        if rest and self.rng.random() < 0.6:
            opening = self.relative(rest[0], [], first)
            mentioned, rest = ([first, rest[0]], rest[1:]) if opening else (mentioned, rest)
        opening = opening or self.placed(first)
        if opening is None:
            return None
        clauses, relations = [opening[0]], list(opening[1])
        for i in rest:
            here, by = self.placed(i), self.relative(i, mentioned)
            clause = by if by and (here is None or self.rng.random() < 0.7) else here
            if clause is None:
                return None
            clauses.append(clause[0])
            relations += clause[1]
            mentioned.append(i)
        return "，".join(clauses), relations


def spatial_family(
    scene: Scene, rng: np.random.Generator, split: Split = "world"
) -> tuple[str, str, list[Relation]] | None:
    """`spatial`, with the name of the template family (pair, row, chain) in front."""
    writer = _Writer(scene, rng, split)
    for family in rng.permutation(["pair", "row", "chain", "chain"]):
        if stated := getattr(writer, family)():
            text, relations = stated
            before = _pick(rng, spatial_templates.BEFORE[split]) if rng.random() < 0.3 else ""
            after = _pick(rng, spatial_templates.AFTER[split]) if rng.random() < 0.2 else ""
            return str(family), before + text + after, relations
    return None


def spatial(scene: Scene, rng: np.random.Generator, split: Split = "world") -> Stated | None:
    """A strongly spatial caption that names every object, and its relations; None where the scene has none.

    Every stated relation holds between box centres by more than `MARGIN`.
    """
    found = spatial_family(scene, rng, split)
    return found[1:] if found else None


def weak(scene: Scene, rng: np.random.Generator, split: Split = "world") -> str:
    """A weakly spatial caption: names every object, near or among each other, and gives no place."""
    order = [scene.objects[int(i)].kind.phrase for i in rng.permutation(len(scene.objects))]
    if len(order) == 1:
        text = _pick(rng, spatial_templates.WEAK_ONE[split]).format(A=order[0])
    else:
        template = _pick(rng, spatial_templates.WEAK[split])
        text = template.format(A=join(order[:-1]), B=order[-1], L=join(order))
    before = _pick(rng, spatial_templates.BEFORE[split]) if rng.random() < 0.3 else ""
    return before + text


def absent(
    caption: str, scene: Scene, rng: np.random.Generator, split: Split = "world", kinds: Sequence[Kind] = CLASSES
) -> tuple[str, str]:
    """The caption with one more of the kinds of objects, which is not in the scene, and its name."""
    extra = _pick(rng, [kind for kind in kinds if kind.name not in scene.names])
    return caption + _pick(rng, spatial_templates.EXTRA[split]).format(A=extra.phrase), extra.name
