"""Dialogues of ten turns about a scene, 问：…？答：…。: what there is, where, how much, and what there is not.

The ten answers together name every object and tell a place of each; of an object is spoken only once it has been named.
Some questions ask for what is not there, so that a noun alone says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gillnext.miniatures.world import sentences
from gillnext.miniatures.world.kinds import Kind
from gillnext.miniatures.world.scenes import Scene, Thing
from gillnext.miniatures.world.sentences import Pairs
from gillnext.miniatures.world.spatial_templates import OPPOSITE
from gillnext.miniatures.world.telling import Fact, Passage, is_at, pick, sides, words
from gillnext.relations import DIRECTIONS

TURNS = 10


@dataclass(frozen=True)
class Act:
    """A question with its answer, the objects that have to be named before it, and the facts that it tells."""

    text: str
    needs: frozenset[str] = frozenset()
    names: str = ""  # the object that it is the first to name
    facts: tuple[Fact, ...] = ()


class Writer:
    """The acts of one dialogue about a scene; `order` is that in which its objects are named."""

    def __init__(self, scene: Scene, kinds: Sequence[Kind], rng: np.random.Generator) -> None:
        self.rng = rng
        self.order = [scene.objects[int(i)] for i in rng.permutation(len(scene.objects))]
        there = {thing.kind.name for thing in self.order}
        absent = [kind for kind in kinds if kind.name not in there]
        self.absent = [absent[int(i)] for i in rng.permutation(len(absent))]

    def say(self, pairs: Pairs, **parts: str) -> str:
        question, answer = pick(self.rng, pairs)
        return f"问：{question.format(**parts)}？答：{answer.format(**parts)}。"

    def naming(self, number: int) -> Act:
        """Names an object, perhaps with its place; those before it have been named."""
        thing, known = self.order[number], self.order[:number]
        a, n, before = thing.kind.phrase, thing.kind.name, frozenset(other.kind.name for other in known)
        at, rng = sides(thing), self.rng
        if known and rng.random() < 0.35 and (found := self._only(thing, known)):
            d, other = pick(rng, found)
            text = self.say(sentences.AT, A=a, M=other.kind.name, d=words([d], rng))
            return Act(text, before, n, ((n, d, other.kind.name),))
        placed = tuple((n, d, None) for d in at)
        if at and rng.random() < 0.3 and not any(is_at(o, d, None, 0.0) for o in self._others(thing) for d in at):
            return Act(self.say(sentences.AT_PLACE, A=a, d=words(at, rng)), before, n, placed)
        if at and rng.random() < 0.3:
            return Act(self.say(sentences.PRESENT_PLACED, A=a, N=n, d=words(at, rng)), before, n, placed)
        if rng.random() < 0.35:
            return Act(self.say(sentences.PRESENT, A=a, N=n), before, n)
        return Act(self.say(sentences.FURTHER if known else sentences.FIRST, A=a), before, n)

    def placing(self, thing: Thing) -> Act | None:
        """Tells where an object is that has been named: in the picture, or by another; None where neither is clear."""
        n, at, rng = thing.kind.name, sides(thing), self.rng
        found = [(d, other) for other in self._others(thing) for d in sides(thing, other)]
        if at and (not found or rng.random() < 0.6):
            text = self.say(sentences.WHERE, N=n, d=words(at, rng))
            return Act(text, frozenset([n]), facts=tuple((n, d, None) for d in at))
        if not found:
            return None
        d, other = pick(rng, found)
        m = other.kind.name
        return Act(self.say(sentences.WHERE_BY, N=n, M=m, d=words([d], rng)), frozenset([n, m]), facts=((n, d, m),))

    def further(self) -> Act | None:
        """Something else: what is not there, how much there is, whether one is beside another, that this is all."""
        rng, names = self.rng, frozenset(thing.kind.name for thing in self.order)
        kind = str(rng.choice(["absent", "count", "asked", "enough"], p=[0.45, 0.15, 0.3, 0.1]))
        if kind == "absent" and self.absent:
            missing = self.absent.pop()
            return Act(self.say(sentences.ABSENT, N=missing.name, A=missing.phrase))
        if kind == "count":
            return Act(self.say(sentences.COUNT, n=sentences.NUMBERS[len(names)]))
        if kind == "enough":
            return Act(self.say(sentences.ENOUGH), names)
        return self._asked()

    def _asked(self) -> Act | None:
        """Whether an object is on a side of another: yes, or no and on which."""
        thing = pick(self.rng, self.order)
        found = [(d, other) for other in self._others(thing) for d in sides(thing, other)]
        if not found:
            return None
        d, other = pick(self.rng, found)
        n, m, yes = thing.kind.name, other.kind.name, self.rng.random() < 0.5
        e = words([OPPOSITE[d]], self.rng)
        text = self.say(sentences.YES if yes else sentences.NO, N=n, M=m, d=words([d], self.rng), e=e)
        return Act(text, frozenset([n, m]), facts=((n, d, m),))

    def _only(self, thing: Thing, known: Sequence[Thing]) -> list[tuple[str, Thing]]:
        """The known objects on a side of which this one is, and nothing else."""
        pairs = [(d, other) for other in known for d in DIRECTIONS if is_at(thing, d, other)]
        return [
            (d, other)
            for d, other in pairs
            if not any(is_at(o, d, other, 0.0) for o in self._others(thing) if o is not other)
        ]

    def _others(self, thing: Thing) -> list[Thing]:
        return [other for other in self.order if other is not thing]


def acts(writer: Writer) -> list[Act] | None:
    """Ten acts that name all objects and place them, in no order yet; None where an object has no clear place."""
    found = [writer.naming(i) for i in range(len(writer.order))]
    for thing, naming in list(zip(writer.order, found, strict=True)):
        if not naming.facts:
            placing = writer.placing(thing)
            if placing is None:
                return None
            found.append(placing)
    said = {act.text for act in found}
    for _ in range(100):
        act = writer.further() if len(found) < TURNS else None
        if act and act.text not in said:
            found.append(act)
            said.add(act.text)
    return found if len(found) == TURNS else None


def tell(scene: Scene, kinds: Sequence[Kind], rng: np.random.Generator) -> tuple[list[str], Passage] | None:
    """A dialogue about a scene of two objects or more: nine texts, and the last one with all that was told.

    None where this try of one cannot be told.
    """
    writer = Writer(scene, kinds, rng)
    left, texts = acts(writer), list[str]()
    order, facts = list[str](), list[Fact]()
    while left:
        act = pick(rng, [act for act in left if act.needs <= set(order)])
        left.remove(act)
        texts.append(act.text)
        order += [act.names] if act.names else []
        facts += [fact for fact in act.facts if fact not in facts]
    return (texts[:-1], Passage(texts[-1], scene, tuple(order), tuple(facts))) if texts else None
