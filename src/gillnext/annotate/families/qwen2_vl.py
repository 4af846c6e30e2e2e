"""Qwen2-VL (Wang et al. 2024): special tokens, coordinates in thousandths of the image.

<|object_ref_start|>猫<|object_ref_end|><|box_start|>(120,340),(560,910)<|box_end|>

An answer without special tokens is read where it is plain what was meant: 猫(120,340),(560,910).
"""

from __future__ import annotations

import re

from gillnext.annotate.answers import PLAIN, Answer, Reading
from gillnext.annotate.base import Names
from gillnext.boxes import Convention

CONVENTION = Convention.THOUSANDTHS
WHOLE = 1000  # of the image, in the answer's units

_MARK = re.compile(r"(<\|(?:object_ref|box)_(?:start|end)\|>)")
_POINT = re.compile(r"\(\s*(-?\d{1,6}(?:\.\d{1,6})?)\s*,\s*(-?\d{1,6}(?:\.\d{1,6})?)\s*\)")
_PAIR = re.compile(_POINT.pattern + r"[\s,]*" + _POINT.pattern)
_CUT = re.compile(r"\(\s*-?\d[^()]*$|" + _POINT.pattern + r"[\s,]*$")  # the end of a text that breaks off in a pair
_BEFORE = re.compile(r"[:：。.\n]")  # what ends that stands before a name
_END = re.compile(r"<\|(?:im_end|endoftext|im_start)\|>")


def question(caption: str, names: Names) -> str:
    if names is None:
        return f"描述：{caption}\n请在图中框出描述里提到的每一个物体，写出物体的名称和位置。"
    return f"描述：{caption}\n请在图中框出以下物体，写出物体的名称和位置：{'、'.join(names)}。"


def parse(text: str, size: tuple[int, int] = (WHOLE, WHOLE)) -> Answer:
    said, reading = _END.split(text, maxsplit=1)[0], Reading()
    pieces = _MARK.split(said)
    if len(pieces) == 1:
        _read_unmarked(reading, said)
    else:
        _read_marked(reading, pieces)
    return reading.answer(said)


def _read_marked(reading: Reading, pieces: list[str]) -> None:
    """An answer split at its special tokens: text, token, text, token, …, text."""
    name, has_box = "", True
    reading.unread(pieces[0])
    for i in range(1, len(pieces), 2):
        mark, body = pieces[i], pieces[i + 1]
        closed = i + 2 < len(pieces) and pieces[i + 2] == mark.replace("_start", "_end")
        if mark == "<|object_ref_start|>":
            if not has_box:
                reading.problem(name, "no box")
            name, has_box = (body.strip(), False) if closed else ("", True)
            if not closed:
                reading.problem(body.strip(), "truncated")
        elif mark == "<|box_start|>":
            has_box = True
            _read_boxes(reading, name, body, closed)
        elif mark == "<|object_ref_end|>" and _POINT.search(body.translate(PLAIN)):
            has_box = True
            _read_boxes(reading, name, body, True)
        elif mark == "<|box_end|>":
            reading.unread(body)
    if not has_box:
        reading.problem(name, "no box")


def _read_boxes(reading: Reading, name: str, body: str, closed: bool) -> None:
    """The boxes in `body`: pairs of points, usually one pair; not `closed`, the answer breaks off in it."""
    body = body.translate(PLAIN)
    points = [(float(x), float(y)) for x, y in _POINT.findall(body)]
    rest = _POINT.sub("", body).strip(" ,;\n\t")
    if not closed:
        reading.problem(name, "truncated")
    elif not points or len(points) % 2 or rest:
        reading.problem(name, "malformed")
    else:
        for first, second in zip(points[::2], points[1::2], strict=True):
            reading.box(name, (*first, *second), WHOLE, WHOLE)


def _read_unmarked(reading: Reading, text: str) -> None:
    """Names, each before its pairs of points; a pair that stands after another and a comma has the same name."""
    plain, name, last = text.translate(PLAIN), "", 0
    for pair in _PAIR.finditer(plain):
        before, last = slice(last, pair.start()), pair.end()
        if plain[before].strip(" ,"):
            name = _BEFORE.split(text[before].rstrip(" :："))[-1].strip(" ,，、;；-*•\"'“”")
        if set(plain[before]) & set("()[]{}<>") or set(name.translate(PLAIN)) & set(',;"'):
            reading.problem("", "malformed")
            name = ""
        else:
            reading.box(name, pair.groups(), WHOLE, WHOLE)
    rest = plain[last:]
    points = len(_POINT.findall(rest))
    if points < 2 and _CUT.search(rest):
        reading.problem("", "truncated")
    elif points:
        reading.problem("", "malformed")
    else:
        reading.unread(rest)
