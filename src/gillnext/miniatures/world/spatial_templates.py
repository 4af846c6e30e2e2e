"""Sentence templates of spatial captions, by split; no template, opening or ending stands in both splits.

A, B, M: object phrases; d, e: a place word and its opposite; L: a list of objects in order. Direction words
(左边, 上方, …) are the same in both splits: they are what the classifier has to learn.
"""

from __future__ import annotations

from typing import Literal

Split = Literal["train", "world"]

OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above"}
CHARACTER = {"left": "左", "right": "右", "above": "上", "below": "下"}
SUFFIXES = {
    "left": ("边", "侧", "方", "面"),
    "right": ("边", "侧", "方", "面"),
    "above": ("方", "面", "边"),
    "below": ("方", "面", "边"),
}

SPATIAL: dict[Split, dict[str, tuple[str, ...]]] = {
    "world": {
        "pair": ("{d}是{A}，{e}是{B}", "{d}有{A}，{e}有{B}", "图的{d}是{A}，{e}是{B}", "{A}在{d}，{B}在{e}"),
        "middle": ("{d}是{A}，中间是{M}，{e}是{B}", "{A}在{d}，{M}在中间，{B}在{e}"),
        "along": ("从左到右依次是{L}", "从左到右是{L}"),
        "down": ("从上到下依次是{L}", "从上到下是{L}"),
        "place": ("{A}在图的{d}", "图的{d}有{A}", "图{d}是{A}"),
        "relative": ("{A}在{B}的{d}", "{B}的{d}有{A}", "{B}的{d}是{A}"),
    },
    "train": {
        "pair": (
            "画面{d}画着{A}，{e}画着{B}",
            "{d}：{A}，{e}：{B}",
            "{d}放着{A}，而{e}放着{B}",
            "{A}居{d}，{B}居{e}",
            "{d}看得到{A}，{e}看得到{B}",
            "{d}为{A}、{e}为{B}",
            "{d}{A}，{e}{B}",
        ),
        "middle": (
            "{d}画着{A}，中间画着{M}，{e}画着{B}",
            "{d}：{A}，中间：{M}，{e}：{B}",
            "{A}居{d}，{M}居中间，{B}居{e}",
        ),
        "along": ("自左向右排着{L}", "由左往右看到{L}", "左起：{L}", "从左往右数，{L}"),
        "down": ("自上而下排着{L}", "由上往下看到{L}", "上起：{L}", "从上往下数，{L}"),
        "place": ("{A}位于画面{d}", "画面{d}画着{A}", "{d}处放着{A}", "{A}被画到了{d}", "看{d}，那儿有{A}"),
        "relative": (
            "{A}位于{B}{d}",
            "{B}{d}画着{A}",
            "{A}被放到了{B}{d}",
            "{B}{d}还能看到{A}",
            "{A}，就在{B}{d}",
        ),
    },
}

WEAK: dict[Split, tuple[str, ...]] = {
    "world": (
        "{A}旁边有{B}",
        "{A}在{B}附近",
        "{A}的周围有{B}",
        "{L}一起靠着",
        "{L}挨在一起",
        "{B}在{A}旁边",
        "{L}之间离得很近",
        "{L}中间隔着空地",
    ),
    "train": (
        "{A}旁边画着{B}",
        "{A}就画在{B}附近",
        "{A}周围还能看到{B}",
        "{L}互相靠着",
        "{L}紧紧挨着",
        "{B}陪在{A}身旁",
        "{L}彼此之间很近",
        "{A}和附近的{B}",
        "{L}都聚在附近",
        "{A}跟{B}中间空着",
        "{A}挨着{B}",
        "{A}靠近{B}",
    ),
}

WEAK_ONE: dict[Split, tuple[str, ...]] = {
    "world": ("{A}的周围很安静", "附近有{A}", "{A}旁边没有别的东西"),
    "train": ("{A}周围空空的", "附近画着{A}", "{A}旁边什么都没画", "周围只看到{A}", "{A}身旁空着"),
}

EXTRA: dict[Split, tuple[str, ...]] = {
    "world": ("，还有{A}", "，另外有{A}"),
    "train": ("，再加{A}", "，以及{A}", "，也画了{A}"),
}

BEFORE: dict[Split, tuple[str, ...]] = {
    "world": ("插画：", "儿童画，", "照片：", "卡通图，", "这张图里", "看图说话，", "手绘：", "素材，"),
    "train": (
        "简笔画：",
        "水彩作品，",
        "摄影：",
        "贴纸，",
        "绘本里",
        "壁纸，",
        "涂鸦：",
        "幼儿园作业，",
        "矢量图：",
        "像素风，",
        "美术课：",
        "背景图，",
    ),
}

AFTER: dict[Split, tuple[str, ...]] = {
    "world": ("，背景很淡", "，高清大图", "，颜色鲜艳", "，很可爱", "。"),
    "train": ("，线条简洁", "，画得真好", "，适合打印", "，色彩柔和", "！", "，超清", "，作者不详"),
}
