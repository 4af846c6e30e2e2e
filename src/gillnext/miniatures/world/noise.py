"""Captions of web noise: shop titles, news, slogans, broken text, and traps: place words without a place.

`noise(rng, split)` gives one. In a template `{name}` is a random word of that list (`world.words`), {n} a
number, {thing} and {measured} an object of the scenes' classes, {cjk} a few random characters. Traps are
such as 100元左右, 上海, 点击下方链接.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

from gillnext.miniatures.world.classes import CLASSES
from gillnext.miniatures.world.kinds import Kind
from gillnext.miniatures.world.spatial_templates import Split
from gillnext.miniatures.world.words import WORDS

# family -> share of the noise
FAMILIES: dict[str, float] = {
    "shop": 0.25, "news": 0.19, "slogan": 0.15, "chat": 0.12, "broken": 0.07, "quotes": 0.06,
    "lines": 0.03, "nouns": 0.08, "trap_word": 0.025, "trap_about": 0.01, "trap_site": 0.015,
}  # fmt: skip

_TEMPLATES: dict[Split, dict[str, tuple[str, ...]]] = {
    "train": {
        "shop": (
            "{brand}{adjective}{goods} {sale}",
            "【{sale}】{brand} {goods} {adjective} {n}码",
            "{adjective}{goods}{n}元,{sale}",
            "{brand}旗舰店 {adjective}{adjective}{goods}",
            "{goods}批发 {n}件起 {sale}",
            "{thing}图案{adjective}{goods}",
        ),
        "news": (
            "{place}{event}",
            "{place}{person}热议{topic}",
            "{n}名{person}参加{place}活动",
            "{topic}：{place}{event}",
            "快讯,{place}将{event}",
            "{person}谈{topic}",
        ),
        "slogan": (
            "{verb}{value},{verb}{value}",
            "{brand},{verb}你的{value}",
            "{verb}{value}，从{brand}开始",
            "让{goods}{verb}{value}",
        ),
        "chat": (
            "{reaction}{emoji}{emoji}",
            "{emoji}{place}之行{reaction}",
            "今天买的{goods}{reaction}{emoji}",
            "{reaction}，{topic}{emoji}",
        ),
        "broken": (
            "{broken}{cjk}{n}",
            "{goods}{broken}{broken}",
            "{cjk}{broken}{cjk}",
            "IMG_{n}{n}.jpg",
            "{topic}{broken}{n}",
        ),
        "quotes": (
            '{person}说"{verb}{value}"',
            '"{goods}",{sale}',
            '{place}"{topic}"专题',
            '读"{topic}",{reaction}',
        ),
        "lines": ("{brand}\n{goods} {sale}", "{topic}\r\n{person},{place}", "{place}{event}\n{n}阅读"),
        "nouns": (
            "{measured}的图片",
            "可爱{thing}头像",
            "{brand}{thing}{goods}",
            "{thing}{n}元",
            "{measured}，{reaction}",
            "{measured}和{measured}",
            "{thing}怎么画",
            "{measured}矢量素材",
        ),
        "trap_word": (
            "{trap}{goods}{sale}",
            "{trap}{topic}",
            "{place}{trap}{event}",
            "{person}{trap}{reaction}",
            "{trap}{thing}图片",
            "{brand}{trap}{n}",
            "{measured}，{trap}{reaction}",
        ),
        "trap_about": (
            "价格{n}元{about}",
            "{thing}{n}斤{about}",
            "{goods}大约{n}天{about}到货",
            "{place}气温{n}度{about}",
        ),
        "trap_site": (
            "{site}",
            "{goods}，{site}",
            "{thing}图片，{site}",
            "{site}{emoji}",
            "{measured}，{site}",
            "{site}，{topic}",
        ),
    },
    "world": {
        "shop": (
            "{brand} {adjective}{goods}{adjective}",
            "{goods} {adjective} {brand}官方 {sale}",
            "「{sale}」{adjective}{goods}",
            "{brand}{goods}{n}折,{sale},{adjective}",
            "{n}只装{goods} {brand}",
            "{thing}印花{goods}{adjective}",
        ),
        "news": (
            "{place}今日{event}",
            "{topic}引{person}关注",
            "{place}{n}位{person}{event}",
            "聚焦{topic},{place}{event}",
            "{person}:{topic}怎么看",
        ),
        "slogan": (
            "{verb}{value} | {brand}",
            "一起{verb}{value}",
            "{brand}{goods},{verb}{value}",
            "{verb}每个{value}，{verb}{brand}",
        ),
        "chat": (
            "{emoji}{reaction}",
            "{goods}{reaction}{emoji}{emoji}",
            "和{person}去{place}{emoji}{reaction}",
            "#{topic}#{reaction}",
        ),
        "broken": (
            "{cjk}{broken}",
            "{broken}{goods}{n}",
            "DSC{n}{n}.JPG",
            "{cjk}{cjk}{broken}{n}",
            "{place}{broken}{topic}",
        ),
        "quotes": (
            '"{topic}"{event}',
            '{person}:"{reaction}"',
            '{brand}"{goods}"{sale},{n}元',
            '论"{value}"',
        ),
        "lines": ("{goods}\n{adjective},{sale}", "{topic}\n{place}\n{person}", '{brand}"{verb}"\r\n{goods}'),
        "nouns": (
            "{measured}高清壁纸",
            "{thing}简笔画教程",
            "{adjective}{thing}摆件",
            "画了{measured}{emoji}",
            "{measured}、{measured}图案",
            "{n}款{thing}图标",
            "{thing}的故事",
        ),
        "trap_word": (
            "{goods}{trap}{sale}",
            "{topic},{trap}版",
            "{trap}{place}{event}",
            "{trap}{person}{reaction}",
            "{thing}{trap}素材",
            "{measured}的{trap}照",
            "{brand}{trap}店",
        ),
        "trap_about": (
            "{goods}{n}块钱{about}",
            "{n}岁{about}的{person}",
            "{thing}约{n}厘米{about}",
            "每天{n}点{about}{event}",
        ),
        "trap_site": (
            "{site}！",
            "{brand}{goods}：{site}",
            "{measured}教程，{site}",
            "{emoji}{site}",
            "{topic} {site}",
        ),
    },
}

_NAMES = tuple(FAMILIES)
_BOUNDS = np.cumsum(list(FAMILIES.values())) / sum(FAMILIES.values())

Piece = Callable[[float], str] | str


def _choose(words: tuple[str, ...]) -> Callable[[float], str]:
    return lambda u: words[int(u * len(words))]


def _characters(u: float) -> str:
    """Two to five random CJK characters from one uniform number."""
    state, text = int(u * 2**40), ""
    for _ in range(2 + state % 4):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        text += chr(0x4E00 + (state >> 33) % 3000)
    return text


@cache
def _compiled(
    split: Split, things: tuple[str, ...], measured: tuple[str, ...]
) -> dict[str, tuple[tuple[Piece, ...], ...]]:
    slots: dict[str, Piece] = {name: _choose(words) for name, words in WORDS[split].items()}
    slots |= {"thing": _choose(things), "measured": _choose(measured), "cjk": _characters}
    slots["n"] = lambda u: str(2 + int(300 * u * u))
    parts = {}
    for family, templates in _TEMPLATES[split].items():
        cut = [re.split(r"\{([a-z]+)\}", template) for template in templates]
        parts[family] = tuple(tuple(slots[p] if i % 2 else p for i, p in enumerate(pieces)) for pieces in cut)
    return parts


def noise_family(rng: np.random.Generator, split: Split, kinds: Sequence[Kind] = CLASSES) -> tuple[str, str]:
    """A noise caption with the name of its family in front; `kinds` are the objects that it may name."""
    draws = rng.random(12).tolist()
    family = _NAMES[int(np.searchsorted(_BOUNDS, draws[0], side="right"))]
    named = _compiled(split, tuple(kind.name for kind in kinds), tuple(kind.phrase for kind in kinds))
    templates = named[family]
    pieces = templates[int(draws[1] * len(templates))]
    return family, "".join(p if isinstance(p, str) else p(draws[2 + i // 2]) for i, p in enumerate(pieces))


def noise(rng: np.random.Generator, split: Split = "world", kinds: Sequence[Kind] = CLASSES) -> str:
    """A caption of web noise: may hold commas, quotes, newlines, emoji and class nouns."""
    return noise_family(rng, split, kinds)[1]
