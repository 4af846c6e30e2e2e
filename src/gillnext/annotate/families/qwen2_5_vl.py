"""Qwen2.5-VL (Bai et al. 2025): JSON, coordinates in pixels of the image as the processor has resized it.

```json
[{"bbox_2d": [120, 340, 560, 910], "label": "猫"}]
```

What is no JSON is read as well where it is plain what was meant: other quotes, quotes inside a label, full-width signs,
a comma before a bracket that closes.
"""

from __future__ import annotations

import json
import re
from typing import Any

from gillnext.annotate.answers import PLAIN, Answer, Reading
from gillnext.annotate.base import Names
from gillnext.boxes import Convention
from gillnext.runtime.files import unique

CONVENTION = Convention.PIXELS
KEYS = {"bbox_2d", "bbox", "label"}
_DECODER = json.JSONDecoder(object_pairs_hook=unique)
# A label ends at the quote behind which its object goes on or ends, whatever quotes are in it.
_LABEL = re.compile(r'"label"\s*:\s*"([^\\]*?)"(?=\s*(?:,\s*"\w+"\s*:|,?\s*\}$))')
_COMMA = re.compile(r",(?=\s*[\]}])")


def question(caption: str, names: Names) -> str:
    wanted = "描述里提到的每一个物体" if names is None else f"以下物体：{'、'.join(names)}"
    form = '[{"bbox_2d": [x1, y1, x2, y2], "label": "名称"}]'
    return f"描述：{caption}\n请在图中框出{wanted}，只用JSON回答，格式为{form}。"


def parse(text: str, size: tuple[int, int]) -> Answer:
    plain, reading, end = text.translate(PLAIN), Reading(), 0
    while (place := plain.find("{", end)) >= 0:
        reading.unread(text[end:place])
        end = _read_at(place, reading, text, plain, size)
    reading.unread(text[end:])
    if not reading.problems and any(plain.count(a) > plain.count(b) for a, b in ("{}", "[]")):
        reading.problem("", "truncated")
    return reading.answer(text)


def _read_at(place: int, reading: Reading, text: str, plain: str, size: tuple[int, int]) -> int:
    """Read the object that begins at `place`; returns where to go on: within it where it only holds others."""
    close, inner = plain.find("}", place) + 1, plain.find("{", place + 1)
    holds_others = 0 <= inner < (close or len(plain))
    try:
        value, end = _DECODER.raw_decode(text, place)
    except (ValueError, RecursionError):  # no JSON, or a number of more digits than Python reads
        value, end = {}, close or len(plain)
        if not holds_others:
            if (found := _plainly(text[place:end], plain[place:end])) is None:
                reading.problem("", "malformed" if close else "truncated")
                return end
            value = found
    if KEYS & value.keys():
        _read(reading, value, size)
        return end
    end = inner if holds_others else end
    reading.unread(text[place:end])
    return end


def _plainly(text: str, plain: str) -> dict[str, Any] | None:
    """An object that is not quite JSON, whose text in plain signs is `plain`; None where it cannot be read."""
    label = _LABEL.search(plain)
    start, end = label.span(1) if label else (0, 0)
    inside = json.dumps(text[start:end])[1:-1]  # the label's own signs
    try:
        value: dict[str, Any] = _DECODER.decode(_COMMA.sub("", plain[:start]) + inside + _COMMA.sub("", plain[end:]))
    except (ValueError, RecursionError):
        return None
    return value


def _read(reading: Reading, value: dict[str, Any], size: tuple[int, int]) -> None:
    """One object of the list: a label with a box, or with a list of boxes."""
    name, found = value.get("label"), value.get("bbox_2d", value.get("bbox"))
    name = name.strip() if isinstance(name, str) else ""
    if not isinstance(found, list) or not found:
        reading.problem(name, "no box" if not found else "malformed")
        return
    for box in found if isinstance(found[0], list) else [found]:
        if isinstance(box, list) and len(box) == 4:
            reading.box(name, box, *size)
        else:
            reading.problem(name, "malformed")
