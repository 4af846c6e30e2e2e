"""Strata of requested boxes: what makes a box hard to fill, told by its layout alone.

Number, position, size and shape are the skills of LayoutBench (Cho et al., 2023, arXiv:2304.06671), with bounds that
part the drawn world's boxes; overlap is that of OverLayBench (Li et al., 2025, arXiv:2509.19282), by the largest IoU
with another box of the layout. Depth is the order of a layout's objects, a later one in front: the drawn world paints
them so. In layouts of another source it is no more than the order in which they are listed.

Letters: N boxes of one layout.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from gillnext import boxes as geometry

SIDES = (0.34, 0.42)  # geometric mean side, in fractions of the image: small below, large from
FEW = 2  # boxes of a layout, at most
EDGE = 0.05  # of the image's side: a box that comes nearer to its border is at the edge
RATIO = 1.1  # of the sides, from which a box is tall or wide
IOUS = (0.0, 0.01, 0.1)  # upper bounds of the parts of overlap, the bound itself included
ALONE = -1  # place of a box that is in no part


def size(boxes_N4: np.ndarray) -> np.ndarray:
    return np.digitize(np.sqrt((boxes_N4[:, 2:] - boxes_N4[:, :2]).prod(1)), SIDES)


def number(boxes_N4: np.ndarray) -> np.ndarray:
    return np.full(len(boxes_N4), int(len(boxes_N4) > FEW))


def position(boxes_N4: np.ndarray) -> np.ndarray:
    margin_N = np.concatenate([boxes_N4[:, :2], 1 - boxes_N4[:, 2:]], axis=1).min(1)
    return (margin_N < EDGE).astype(int)


def aspect(boxes_N4: np.ndarray) -> np.ndarray:
    width_N, height_N = (boxes_N4[:, 2:] - boxes_N4[:, :2]).T
    return 1 + (width_N >= RATIO * height_N).astype(int) - (height_N >= RATIO * width_N)


def overlap(boxes_N4: np.ndarray) -> np.ndarray:
    return np.digitize(_others(boxes_N4).max(1, initial=0.0), IOUS, right=True)


def depth(boxes_N4: np.ndarray) -> np.ndarray:
    """Among the boxes that it overlaps: 0 behind all, 2 in front of all, 1 between; `ALONE` where it overlaps none."""
    overlapped_NN = _others(boxes_N4) > 0
    in_front_N, behind_N = np.tril(overlapped_NN).any(1), np.triu(overlapped_NN).any(1)
    return np.where(in_front_N | behind_N, 1 + in_front_N.astype(int) - behind_N, ALONE)


def _others(boxes_N4: np.ndarray) -> np.ndarray:
    """(N, N) IoU of each box with the others, 0 with itself."""
    ious_NN = geometry.iou(boxes_N4, boxes_N4)
    np.fill_diagonal(ious_NN, 0.0)
    return ious_NN


class Kind(NamedTuple):
    """A way to part boxes: `place` maps a layout's boxes (N, 4) to each one's place among `parts`, (N,) int."""

    parts: Sequence[str]
    place: Callable[[np.ndarray], np.ndarray]


KINDS = {
    "size": Kind(("small", "medium", "large"), size),
    "number": Kind(("few", "many"), number),
    "position": Kind(("centre", "edge"), position),
    "aspect": Kind(("tall", "square", "wide"), aspect),
    "overlap": Kind(("none", "≤ 0.01", "≤ 0.1", "> 0.1"), overlap),
    "depth": Kind(("back", "between", "front"), depth),
}
