"""How many of a thing a caption states: 三只气球 (3), 两个红色的杯子 (2), 12朵小花 (12), 一对鸟 (2).

A rule beside the planner, whose training captions may count nothing: a numeral, a measure word, perhaps a modifier, and
the name.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from gillnext.language.words import alternation

_DIGITS = {c: i for i, c in enumerate("零一二三四五六七八九")} | {"两": 2, "兩": 2}
_UNITS = {"十": 10, "百": 100, "千": 1_000, "万": 10_000, "萬": 10_000}
_PAIRS = "对對双雙"
_MEASURES = "个個只隻条條头頭匹棵朵座栋棟间間所辆輛艘架部台臺把张張颗顆粒枚株盏盞支枝根本块塊片幅件顶頂口尾位名"
_WRITTEN = "".join([*_DIGITS, *_UNITS])
_COUNT = (
    rf"(?<![第0-9０-９{_WRITTEN}])(?P<numeral>[0-9０-９]{{1,9}}|[{_WRITTEN}]+)[大小]?(?P<measure>[{_MEASURES}{_PAIRS}])"
)
_MODIFIER = r"(?:[^\W在有是和与跟]{1,6}的|[大小长短高矮圆新旧老胖红橙黄绿蓝紫粉黑白灰金银彩]{1,2})?"


class Count(NamedTuple):
    """One count of a caption: numeral and measure word, the number, and the name ("" where no known one follows)."""

    words: str
    number: int
    name: str


def number(numeral: str) -> int:
    """The number that digits or Chinese numerals write: 12, 十二 and 两百 (12, 12, 200)."""
    if numeral[0] not in _WRITTEN:
        return int(numeral)
    total = digit = 0
    for character in numeral:
        if character in _UNITS:
            total, digit = total + max(digit, 1) * _UNITS[character], 0
        else:
            digit = _DIGITS[character]
    return total + digit


def counts_in(caption: str, names: Iterable[str]) -> list[Count]:
    """The counts of a caption in their order; of names that begin alike the longest is meant."""
    known = alternation(names)
    pattern = f"{_COUNT}(?:{_MODIFIER}(?P<name>{known}))?" if known else f"{_COUNT}(?P<name>)"
    found = []
    for match in re.finditer(pattern, caption):
        pairs = 2 if match["measure"] in _PAIRS else 1
        words = caption[match.start() : match.end("measure")]
        found.append(Count(words, number(match["numeral"]) * pairs, match["name"] or ""))
    return found


def stated(caption: str, names: Iterable[str]) -> dict[str, int]:
    """How often each of `names` is to stand in the picture, for those that the caption counts; 一只猫…一只猫 is 2."""
    total = Counter[str]()
    for count in counts_in(caption, names):
        if count.name and count.number:
            total[count.name] += count.number
    return dict(total)
