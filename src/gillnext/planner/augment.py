"""Mirrored training layouts: boxes and the caption's words of side change together, or the layout stays as it is."""

from __future__ import annotations

import re

from gillnext.layouts import Box, Layout

_SIDE = re.compile(r"左(?!右)|(?<!左)右")
_HEIGHT = re.compile(r"[上下](?=[方面边侧角部])|(?<=[左右到至往])[上下]|(?<=[从自由])[上下](?=[到至往])")
_OTHER = {0: re.compile("左右"), 1: re.compile("[顶底脚头]")}
_SWAP = str.maketrans("左右上下", "右左下上")


def mirror_caption(caption: str, axis: int) -> str | None:
    """The caption of the mirrored picture (axis 0: left and right change, 1: above and below); None where unsure."""
    pattern, characters = ((_SIDE, "左右"), (_HEIGHT, "上下"))[axis]
    rest = pattern.sub("", caption)
    if _OTHER[axis].search(caption) or any(c in rest for c in characters):
        return None
    return pattern.sub(lambda match: match.group().translate(_SWAP), caption)


def mirror_box(box: Box, axis: int) -> Box:
    x1, y1, x2, y2 = box
    return (1 - x2, y1, 1 - x1, y2) if axis == 0 else (x1, 1 - y2, x2, 1 - y1)


def mirror(layout: Layout, axis: int) -> Layout | None:
    """The mirrored layout, or None where its caption cannot be mirrored."""
    caption = mirror_caption(layout.caption, axis)
    if caption is None:
        return None
    return Layout(caption, layout.names, tuple(mirror_box(box, axis) for box in layout.boxes), layout.id)
