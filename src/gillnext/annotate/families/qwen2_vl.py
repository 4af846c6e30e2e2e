"""Qwen2-VL (Wang et al. 2024): special tokens, coordinates in thousandths of the image.

<|object_ref_start|>猫<|object_ref_end|><|box_start|>(120,340),(560,910)<|box_end|>
"""

from __future__ import annotations

import re
import unicodedata

from gillnext.annotate.answers import Answer, Reading
from gillnext.annotate.base import Names
from gillnext.boxes import Convention

CONVENTION = Convention.THOUSANDTHS
WHOLE = 1000  # of the image, in the answer's units

_MARK = re.compile(r"(<\|(?:object_ref|box)_(?:start|end)\|>)")
_POINT = re.compile(r"\(\s*(-?\d{1,6}(?:\.\d{1,6})?)\s*,\s*(-?\d{1,6}(?:\.\d{1,6})?)\s*\)")
_END = re.compile(r"<\|(?:im_end|endoftext|im_start)\|>")


def question(caption: str, names: Names) -> str:
    if names is None:
        return f"描述：{caption}\n请在图中框出描述里提到的每一个物体，写出物体的名称和位置。"
    return f"描述：{caption}\n请在图中框出以下物体，写出物体的名称和位置：{'、'.join(names)}。"


def parse(text: str, size: tuple[int, int] = (WHOLE, WHOLE)) -> Answer:
    pieces = _MARK.split(_END.split(text, maxsplit=1)[0])
    reading, name, has_box = Reading(), "", True
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
    if not has_box:
        reading.problem(name, "no box")
    return reading.answer()


def _read_boxes(reading: Reading, name: str, body: str, closed: bool) -> None:
    """The boxes between <|box_start|> and <|box_end|>: pairs of points, usually one pair."""
    body = unicodedata.normalize("NFKC", body)
    points = [(float(x), float(y)) for x, y in _POINT.findall(body)]
    rest = _POINT.sub("", body).strip(" ,;、\n\t")
    if not name:
        reading.problem("", "a box without a name")
    elif not closed:
        reading.problem(name, "truncated")
    elif not points or len(points) % 2 or rest:
        reading.problem(name, "malformed")
    else:
        for first, second in zip(points[::2], points[1::2], strict=True):
            reading.box(name, (*first, *second), WHOLE, WHOLE)
