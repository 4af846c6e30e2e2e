"""The planner's answer as text: `<obj>猫</obj><box>[072,310,450,700]</box>…`, written, and read without ever raising.

Coordinates are xyxy in integer thousandths (`boxes.Convention.THOUSANDTHS`), written with three digits (1000 has four);
numbers of any width are read. Training plans keep to a grid of `GRID` thousandths. Its numbers are one token each to a
tokenizer of our own (with the comma before them: another one): a short answer, and numbers that a small model sees
often enough to learn. Between them every other number can be spelled in digits, as a given tokenizer spells all.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from gillnext import boxes
from gillnext.boxes import Convention
from gillnext.layouts import Box, Layout
from gillnext.runtime.errors import UserError

OPEN, MIDDLE, COMMA, CLOSE = "<obj>", "</obj><box>[", ",", "]</box>"
GRID = 25  # thousandths between the coordinates of training plans
MAX_NAME = 12  # characters of a name

_NAME = re.compile(rf"[^<>\s](?:[^<>\n]{{0,{MAX_NAME - 2}}}[^<>\s])?")

_OBJECT = re.compile(r"<obj>([^<>]*)</obj><box>\[([^\[\]<>]*)\]</box>")


@dataclass(frozen=True)
class Parsed:
    """Objects read from an answer (`boxes` xyxy in [0, 1]) and the reasons why it is not a plan; none: it is one."""

    names: tuple[str, ...]
    boxes: tuple[Box, ...]
    reasons: tuple[str, ...]

    @property
    def valid(self) -> bool:
        return not self.reasons

    def layout(self, caption: str) -> Layout:
        return Layout(caption, self.names, self.boxes)


def is_name(text: str) -> bool:
    """Whether a plan can name an object so: 1–MAX_NAME characters, no tag or line break, no space at the ends."""
    return _NAME.fullmatch(text) is not None


def number(value: int) -> str:
    """A coordinate, 0–1000, as it is written: 72 is 072."""
    return f"{value:03d}"


def tokens() -> list[str]:
    """The pieces of a plan that the planner's tokenizer keeps whole."""
    return [OPEN, MIDDLE, CLOSE, *(token for row in grid_tokens() for token in row)]


def grid_tokens() -> list[list[str]]:
    """The grid's numbers in order, and the same with the comma that stands before the second to the fourth."""
    grid = [number(v) for v in range(0, 1001, GRID)]
    return [grid, [COMMA + n for n in grid]]


def _sides(low: float, high: float, grid: int) -> tuple[int, int]:
    """Two different numbers on the grid, 0–1000, nearest to an interval's ends in [0, 1]."""
    first = min(round(low * 1000 / grid), 1000 // grid - 1)
    return first * grid, max(round(high * 1000 / grid), first + 1) * grid


def numbers(box: Sequence[float], grid: int = 1) -> list[str]:
    """The four numbers of a box (xyxy in [0, 1]), rounded to multiples of `grid` thousandths, and it is not empty."""
    x1, y1, x2, y2 = box
    (left, right), (top, bottom) = _sides(x1, x2, grid), _sides(y1, y2, grid)
    return list(map(number, (left, top, right, bottom)))


def write(names: Sequence[str], unit_boxes: Sequence[Sequence[float]], grid: int = 1) -> str:
    """The plan of these boxes (xyxy in [0, 1]), rounded to multiples of `grid` thousandths, none of them empty."""
    texts = zip(names, (COMMA.join(numbers(box, grid)) for box in unit_boxes), strict=True)
    return "".join(f"{OPEN}{name}{MIDDLE}{text}{CLOSE}" for name, text in texts)


def _box(text: str) -> tuple[Box | None, str]:
    parts = text.split(COMMA)
    if len(parts) != 4 or not all(re.fullmatch(r"[0-9]{1,4}", p) for p in parts):
        return None, f"[{text}] is not four whole numbers"
    try:
        return boxes.to_unit([[int(p) for p in parts]], Convention.THOUSANDTHS)[0], ""
    except UserError:
        return None, f"[{text}] is out of 0–1000, reversed or empty"


def parse(text: str) -> Parsed:
    """The objects in an answer, and what is wrong with it; never raises, whatever the text."""
    names, found, reasons, at = [], [], [], 0
    for match in _OBJECT.finditer(text):
        if match.start() != at:
            reasons.append(f"text between objects: {text[at : match.start()][:40]!r}")
        at = match.end()
        name = match.group(1)
        box, problem = _box(match.group(2))
        if not is_name(name):
            reasons.append(f"no name of 1–{MAX_NAME} characters: {name[:40]!r}")
        elif box is None:
            reasons.append(problem)
        else:
            names.append(name)
            found.append(box)
    if text[at:].strip():
        reasons.append(f"text after the objects: {text[at:][:40]!r}")
    if not names and not reasons:
        reasons.append("no objects")
    return Parsed(tuple(names), tuple(found), tuple(reasons))


def ordered(layout: Layout) -> Layout:
    """The layout with its objects in the order of mention; objects of one name from left to right."""
    place = {name: (layout.caption.find(name) + 1) or 10**6 for name in layout.names}
    rows = sorted(zip(layout.names, layout.boxes, strict=True), key=lambda r: (place[r[0]], r[0], r[1]))
    return Layout(layout.caption, tuple(n for n, _ in rows), tuple(b for _, b in rows), layout.id)
