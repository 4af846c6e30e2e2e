"""The boxes that an edit may be made in: windows about the anchors, cut at the picture's border.

Letters: A anchors, K windows of each.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gillnext.layouts import Box


def sides(count: int, least: int, most: int) -> list[int]:
    """`count` sides in patches, from `least` to `most`, evenly in the logarithm, none twice."""
    found = np.exp(np.linspace(np.log(min(least, most)), np.log(most), count)).round().astype(int)
    return list(dict.fromkeys(int(side) for side in found))


def window(anchor: tuple[int, int], side: int, grid: int) -> Box:
    """The box of `side` patches about an anchor (row, column) of a grid, cut at its border."""
    row, column = (place + 0.5 for place in anchor)
    x1, y1, x2, y2 = column - side / 2, row - side / 2, column + side / 2, row + side / 2
    return tuple(min(max(v / grid, 0.0), 1.0) for v in (x1, y1, x2, y2))  # type: ignore[return-value]


def of(anchors: Sequence[tuple[int, int]], windows: Sequence[int], grid: int) -> list[list[Box]]:
    """A x K boxes."""
    return [[window(anchor, side, grid) for side in windows] for anchor in anchors]
