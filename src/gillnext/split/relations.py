"""Spatial relations that a caption states by its own grammar: 猫在树的左边, 上面是云, 从左到右依次是猫、树和车.

Only clauses that are understood whole count: what a clause adds in words that are not known makes it say nothing.
Names that stand for several boxes, or for more than one thing (两只猫), say nothing either. A direction without an
object that it starts from is about the picture's centre where the clause names the picture, or where nothing was named
before. Of neighbours with opposite directions (图的左边是猫，右边是树), with or without a middle between them, each is
about the other, unless the later names the picture again.

Direction words count where the lexicon of the keyword pass knows them; its traps are cut out, its variants read.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gillnext.boxes import centres
from gillnext.filter.lexicon import Lexicon
from gillnext.language.words import alternation
from gillnext.layouts import Layout
from gillnext.relations import CENTRE, Stated, holds

MARGIN = 0.05  # of the picture: centres differ by more than this, or the boxes do not agree
OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above"}
NAME, MANY = 0xE000, "\uf8ff"  # private characters: of name 0, 1, …; of a name that is no single box's

_SIDES = {
    "left": [f"左{end}" for end in ("边", "侧", "面", "方", "端")],
    "right": [f"右{end}" for end in ("边", "侧", "面", "方", "端")],
    "above": [f"上{end}" for end in ("边", "侧", "面", "方", "端", "部")] + ["顶部", "顶端"],
    "below": [f"下{end}" for end in ("边", "侧", "面", "方", "端", "部")] + ["底部", "底下"],
}
_CORNERS = {
    f"{b}{a}{end}": (x, y)
    for (b, x), (a, y) in itertools.product((("左", "left"), ("右", "right")), (("上", "above"), ("下", "below")))
    for end in ("角", "方", "侧", "边")
}
_MIDDLE = ("中间", "正中", "中央")
_CLAUSES = re.compile(r"[，。；：！？,.;:!?\s]+")
_WORD = r"[^\ue000-\uf8ff左右上下顶底在位有是为和与及、的它他她其此这那旁]"  # characters that turn no sentence round
_SEVERAL = re.compile("[两二三四五六七八九十几些群双对众]")
_IMAGE = r"(?:[这本该此]?(?:一)?[张幅]?(?:图片|图像|图画|画面|照片|相片|镜头|图|画)(?:里面|当中|里|中|上|内)?的?)"
_BE = r"(?:[则就还也]?(?:是|有|为)|[放站坐摆挂停趴躺画种蹲立]着)"
_AT = r"(?:[站坐放摆挂停趴躺蹲立]?(?:位于|处于|在|居))"
_ORDER = {"左右": "left", "右左": "right", "上下": "above", "下上": "below"}


@dataclass(frozen=True)
class _Clause:
    """Objects `subjects` lie in `directions` of `reference` (None: of the centre).

    `image`: the clause names the picture; `sure`: it says so even standing alone.
    """

    subjects: tuple[int, ...]
    directions: tuple[str, ...]
    reference: int | None
    image: bool
    sure: bool


class Grammar:
    """Reads relations from captions, with the words of a lexicon."""

    def __init__(self, lexicon: Lexicon) -> None:
        known = {word: (side,) for side, words in _SIDES.items() for word in words} | _CORNERS
        known |= dict.fromkeys(_MIDDLE, ("middle",))
        self.directions = {word: sides for word, sides in known.items() if lexicon.pattern.search(word)}
        self.lexicon = lexicon
        self.simplified = str.maketrans({c: plain for plain, word in lexicon.variants.items() for c in word[1:]})
        self.patterns = _patterns(tuple(self.directions))

    def _marked(self, caption: str, names: Sequence[str]) -> str:
        """The caption in simplified characters, each name one private character, traps as clause ends."""
        plain = [name.translate(self.simplified) for name in names]
        marks = {n: chr(NAME + i) if plain.count(n) == 1 else MANY for i, n in enumerate(plain)}
        if not marks or len(marks) > ord(MANY) - NAME:
            return ""
        text = re.sub(alternation(marks), lambda found: marks[found[0]], caption.translate(self.simplified))
        return self.lexicon.cuttable.sub(lambda found: self.lexicon.cuts[found[0]], text)

    def stated(self, caption: str, names: Sequence[str]) -> Stated:
        """The relations that a caption states between the objects `names`, as (subject, relation, reference)."""
        found: list[_Clause | None] = []
        stated: Stated = []
        before = ""
        for text in _CLAUSES.split(self._marked(caption, names)):
            if not text:
                continue
            order = self._order(text)
            stated += order
            found.append(None if order else self._clause(text, bool(re.search(r"[\ue000-\uf8ff]", before))))
            before += text
        return list(dict.fromkeys([*stated, *_of_clauses(found)]))

    def _order(self, text: str) -> Stated:
        """从左到右依次是…: each object by the next."""
        if not (match := self.patterns["order"].fullmatch(text)) or not (things := _listed(match["A"])):
            return []
        relation = _ORDER[match["a"] + match["b"]]
        return [(i, relation, j) for i, j in itertools.pairwise(things)]

    def _clause(self, text: str, named_before: bool) -> _Clause | None:
        """What one clause says; None where it is not understood whole."""
        for name in ("at", "of", "here", "there"):
            if match := self.patterns[name].fullmatch(text):
                subjects, sides = _listed(match["A"]), self.directions[match["D"]]
                parts = match.groupdict()
                reference = ord(parts["B"]) - NAME if parts.get("B") else None
                between = "middle" in sides and reference is not None
                if not subjects or reference in subjects or parts.get("B") == MANY or between:
                    return None
                image = bool(parts.get("image"))
                return _Clause(subjects, sides, reference, image, reference is not None or image or not named_before)
        return None


def _listed(text: str) -> tuple[int, ...]:
    """The objects of a list of nouns; none where a noun stands for several things."""
    if _SEVERAL.search(text) or MANY in text:
        return ()
    return tuple(ord(c) - NAME for c in text if "\ue000" <= c < MANY)


@functools.cache
def _patterns(directions: tuple[str, ...]) -> dict[str, re.Pattern[str]]:
    noun = r"[\ue000-\uf8ff]"
    phrase = f"{_WORD}{{0,8}}(?:的{_WORD}{{0,4}})?{noun}"
    things = f"(?P<A>{phrase}(?:[、和与及]+{phrase})*)"
    side = f"(?:正)?(?P<D>{alternation(directions)})" if directions else "(?P<D>(?!))"
    start = f"(?:{_IMAGE}|{_WORD}{{0,6}})?"
    written = {
        "at": f"{start}{things}{_AT}{_WORD}{{0,6}}(?P<B>{noun})的?{side}",
        "of": f"{start}{_WORD}{{0,6}}(?P<B>{noun})的?{side}{_BE}{things}",
        "here": f"(?P<image>{_WORD}{{0,4}}{_IMAGE}{{1,2}})?{side}{_BE}{things}",
        "there": f"{_IMAGE}?{things}{_AT}(?P<image>{_IMAGE})?{side}",
        "order": f"{start}(?:从|由|自)(?P<a>[左右上下])(?:到|至|往|向|而)(?P<b>[左右上下])(?:依次|分别)?{_BE}?{things}",
    }
    return {name: re.compile(text) for name, text in written.items()}


def _lies(clause: _Clause | None) -> str:
    """The one side of the centre that a clause's objects lie on, or middle; "" where it says something else."""
    return clause.directions[0] if clause and clause.reference is None and len(clause.directions) == 1 else ""


def _of_clauses(clauses: Sequence[_Clause | None]) -> Stated:
    """The relations of clauses; of neighbours on opposite sides, with or without a middle, each other's."""
    stated: Stated = []
    left = list(clauses)
    for size in (3, 2):
        for i in range(len(left) - size + 1):
            row = left[i : i + size]
            here, *between, there = map(_lies, row)
            apart = any(clause.image for clause in row[1:] if clause)  # 图的左边是…，图的右边是…: each about the centre
            if OPPOSITE.get(here) == there and between in ([], ["middle"]) and not apart:
                left[i : i + size] = [None] * size
                for a, b in itertools.pairwise(clause for clause in row if clause):
                    stated += [(s, here, t) for s in a.subjects for t in b.subjects if s != t]
    for clause in left:
        if clause and clause.sure and clause.directions != ("middle",):
            stated += [(s, d, clause.reference) for s in clause.subjects for d in clause.directions]
    return stated


def agreed(layout: Layout, grammar: Grammar) -> Stated:
    """The relations that a layout's caption states, if its boxes agree with every one of them; else none."""
    found = grammar.stated(layout.caption, layout.names)
    points = [(float(x), float(y)) for x, y in centres(np.array(layout.boxes))]
    good = all(holds(r, points[s], CENTRE if o is None else points[o], MARGIN) for s, r, o in found)
    return found if good else []
