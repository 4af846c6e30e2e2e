"""Stories of five sentences about drawn scenes: after each, a picture of all that has been said so far.

The first sentence brings one object or two, the others bring one more, move one, or take one away. At least two objects
come by an earlier one (猫的右边有一棵树), and at least one moves or leaves. The last sentence alone never tells the
picture: it names fewer objects than there are. An object's box stays as long as no sentence moves it, and what was told
of places is told of no more once one of the two has moved.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gillnext.miniatures.world import sentences
from gillnext.miniatures.world.captions import centre
from gillnext.miniatures.world.scenes import Scene, Thing
from gillnext.miniatures.world.telling import Fact, Passage, is_at, pick, settled, sides, words
from gillnext.relations import DIRECTIONS

SENTENCES = 5
ATTEMPTS = 20  # at one sentence: whose place, and which, is drawn anew
STEP = 0.25  # of the picture: how far an object that moves goes at least, in x or in y
CORNERS = (("left", "above"), ("right", "above"), ("left", "below"), ("right", "below"))


class Teller:
    """A story as it grows. Each method says one sentence and returns it, or None where it cannot be said."""

    def __init__(self, scene: Scene, rng: np.random.Generator) -> None:
        self.scene, self.rng = scene, rng
        self.waiting = [scene.objects[int(i)] for i in rng.permutation(len(scene.objects))]
        self.here: list[Thing] = []  # in the order of first mention
        self.facts: list[Fact] = []
        self.named = 0  # objects that the last sentence names

    def passage(self, text: str) -> Passage:
        """What has been said so far, with `text` as its last sentence."""
        here = {thing.kind.name: thing for thing in self.here}
        known = [thing.kind.name for thing in self.scene.objects]
        objects = tuple(here[name] for name in known if name in here)
        return Passage(text, replace(self.scene, objects=objects), tuple(here), tuple(self.facts))

    def write(self, templates: tuple[str, ...], named: int, **parts: str) -> str:
        self.named = named
        return pick(self.rng, templates).format(**parts)

    def open(self) -> str:
        """One object, at its place or just there."""
        thing = self.waiting.pop()
        self.here.append(thing)
        at = sides(thing)
        if at and self.rng.random() < 0.5:
            self.facts += [(thing.kind.name, d, None) for d in at]
            return self.write(sentences.OPENING_PLACED, 1, A=thing.kind.phrase, d=words(at, self.rng))
        return self.write(sentences.OPENING, 1, A=thing.kind.phrase)

    def open_two(self) -> str:
        """Two objects, one beside the other or just there."""
        a, b = self.waiting.pop(), self.waiting.pop()
        at = sides(a, b)
        if at and self.rng.random() < 0.5:
            d = pick(self.rng, at)
            self.facts.append((a.kind.name, d, b.kind.name))
            text = pick(self.rng, sentences.OPENING_PAIR)
            self.here += [a, b] if text.index("{A}") < text.index("{B}") else [b, a]
            self.named = 2
            return text.format(A=a.kind.phrase, B=b.kind.phrase, d=words([d], self.rng))
        self.here += [a, b]
        return self.write(sentences.OPENING_TWO, 2, A=a.kind.phrase, B=b.kind.phrase)

    def beside(self) -> str | None:
        """A new object on a side of one that is there."""
        other, d = pick(self.rng, self.here), pick(self.rng, DIRECTIONS)
        thing = settled(self.waiting[-1], self.here, lambda t: is_at(t, d, other), self.rng)
        if thing is None:
            return None
        self.waiting.pop()
        self.here.append(thing)
        self.facts.append((thing.kind.name, d, other.kind.name))
        return self.write(sentences.BESIDE, 2, A=thing.kind.phrase, M=other.kind.name, d=words([d], self.rng))

    def add(self) -> str | None:
        """A new object on a side of the picture, or in a corner."""
        at = self._somewhere()
        thing = settled(self.waiting[-1], self.here, lambda t: all(is_at(t, d, None) for d in at), self.rng)
        if thing is None:
            return None
        self.waiting.pop()
        self.here.append(thing)
        self.facts += [(thing.kind.name, d, None) for d in at]
        return self.write(sentences.ADDED, 1, A=thing.kind.phrase, d=words(at, self.rng))

    def move(self) -> str | None:
        """An object goes where it was not: to a side of the picture or a corner, or to another side of an object."""
        number = int(self.rng.integers(len(self.here)))
        old, others = self.here[number], self.here[:number] + self.here[number + 1 :]
        other = pick(self.rng, others) if others and self.rng.random() < 0.5 else None
        at = self._somewhere() if other is None else (pick(self.rng, DIRECTIONS),)
        if all(is_at(old, d, other, margin=0.0) for d in at):
            return None
        thing = settled(old, others, lambda t: all(is_at(t, d, other) for d in at) and _apart(t, old), self.rng)
        if thing is None:
            return None
        name = thing.kind.name
        self.here[number] = thing
        self._forget(name)
        self.facts += [(name, d, None if other is None else other.kind.name) for d in at]
        parts = {"N": name, "d": words(at, self.rng), "v": sentences.VERBS.get(name, "移")}
        if other is None:
            return self.write(sentences.MOVED, 1, **parts)
        return self.write(sentences.MOVED_BESIDE, 2, **parts, M=other.kind.name)

    def leave(self) -> str | None:
        """An object is there no more; two at least stay."""
        if len(self.here) < 3:
            return None
        name = self.here.pop(int(self.rng.integers(len(self.here)))).kind.name
        self._forget(name)
        return self.write(sentences.LEFT, 1, N=name, v=sentences.LEAVING.get(name, "被拿走"))

    def _somewhere(self) -> tuple[str, ...]:
        """A corner, or a side of the picture."""
        return pick(self.rng, CORNERS) if self.rng.random() < 0.6 else (pick(self.rng, DIRECTIONS),)

    def _forget(self, name: str) -> None:
        self.facts = [fact for fact in self.facts if name not in (fact[0], fact[2])]


def _apart(thing: Thing, old: Thing) -> bool:
    (x, y), (u, v) = centre(thing), centre(old)
    return max(abs(x - u), abs(y - v)) > STEP


def plan(objects: int, rng: np.random.Generator) -> list[str]:
    """The kinds of the five sentences of a story with three or four objects, in their order."""
    change = ["leave" if rng.random() < 0.35 else "move", "move"]
    if objects == 3:
        first, rest = "open", ["beside", "beside", *change]
    elif rng.random() < 0.5:
        first, rest = "open_two", ["beside", "beside", *change]
    else:
        first, rest = "open", ["beside", "beside", "beside" if rng.random() < 0.5 else "add", change[0]]
    return [first, *(str(kind) for kind in rng.permutation(rest))]


def tell(scene: Scene, rng: np.random.Generator) -> list[Passage] | None:
    """A story with the objects of a scene, three or four; None where this try of one cannot be told."""
    teller, story = Teller(scene, rng), []
    for kind in plan(len(scene.objects), rng):
        tries = (getattr(teller, kind)() for _ in range(ATTEMPTS))
        text = next((text for text in tries if text is not None), None)
        if text is None:
            return None
        story.append(teller.passage(text))
    return story if len(teller.here) > teller.named else None
