"""Qwen2.5-VL (Bai et al. 2025): JSON, coordinates in pixels of the image as the processor has resized it.

```json
[{"bbox_2d": [120, 340, 560, 910], "label": "猫"}]
```
"""

from __future__ import annotations

import json
from typing import Any

from gillnext.annotate.answers import Answer, Reading
from gillnext.annotate.base import Names
from gillnext.boxes import Convention

CONVENTION = Convention.PIXELS
_DECODER = json.JSONDecoder()


def question(caption: str, names: Names) -> str:
    wanted = "描述里提到的每一个物体" if names is None else f"以下物体：{'、'.join(names)}"
    form = '[{"bbox_2d": [x1, y1, x2, y2], "label": "名称"}]'
    return f"描述：{caption}\n请在图中框出{wanted}，只用JSON回答，格式为{form}。"


def parse(text: str, size: tuple[int, int]) -> Answer:
    reading, place = Reading(), text.find("{")
    while place >= 0:
        try:
            value, end = _DECODER.raw_decode(text, place)
        except (ValueError, RecursionError):  # no JSON, or a number of more digits than Python reads
            value, end = None, place + 1
        if value is not None and not {"bbox_2d", "label"} & value.keys():
            end = place + 1  # a wrapper: what it holds is looked at by itself
        elif value is None:
            reading.problem("", "malformed" if "}" in text[place:] else "truncated")
        else:
            _read(reading, value, size)
        place = text.find("{", end)
    return reading.answer()


def _read(reading: Reading, value: dict[str, Any], size: tuple[int, int]) -> None:
    """One object of the list: a label with a box, or with a list of boxes."""
    name, found = value.get("label"), value.get("bbox_2d")
    name = name.strip() if isinstance(name, str) else ""
    if not isinstance(found, list) or not found:
        reading.problem(name, "no box" if not found else "malformed")
        return
    for box in found if isinstance(found[0], list) else [found]:
        if isinstance(box, list) and len(box) == 4:
            reading.box(name, box, *size)
        else:
            reading.problem(name, "malformed")
