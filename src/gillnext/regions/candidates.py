"""The boxes that an edit may be made in: windows about the anchors, and the box of what each anchor stands on.

Letters: A anchors, K boxes of each, D width of the eyes' states, H and W rows and columns of patches.
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


def alike(states_DHW: np.ndarray, anchor: tuple[int, int]) -> Box:
    """The box of the patches about an anchor, side by side with it, whose states have a positive cosine with its own,
    the picture's mean taken off: the seed expansion of LOST (Siméoni et al., 2021).
    """
    centred = states_DHW - states_DHW.mean((1, 2), keepdims=True)
    similar_HW = np.einsum("dhw,d->hw", centred, centred[:, anchor[0], anchor[1]]) > 0
    seen, todo = {anchor}, [anchor]
    while todo:
        row, column = todo.pop()
        for place in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            inside = 0 <= place[0] < similar_HW.shape[0] and 0 <= place[1] < similar_HW.shape[1]
            if inside and similar_HW[place] and place not in seen:
                seen.add(place)
                todo.append(place)
    rows, columns = zip(*seen, strict=True)
    height, width = similar_HW.shape
    return min(columns) / width, min(rows) / height, (max(columns) + 1) / width, (max(rows) + 1) / height


def of(
    anchors: Sequence[tuple[int, int]], windows: Sequence[int], grid: int, states_DHW: np.ndarray | None = None
) -> list[list[Box]]:
    """A x K boxes: windows, and with the eyes' states one more, of the patches that are alike."""
    found = [[window(anchor, side, grid) for side in windows] for anchor in anchors]
    if states_DHW is None:
        return found
    return [[*own, alike(states_DHW, anchor)] for own, anchor in zip(found, anchors, strict=True)]
