"""The grid of samples: one row a caption, one column each for the layout, the real image and every arm.

The captions are the first test layouts with two objects or more: nothing is picked by how it came out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import patches
from matplotlib import pyplot as plt

from gillnext.layouts import Layout
from gillnext.paper import style
from gillnext.record.pictures import Pictures, in_grid
from gillnext.record.results import REAL, Results, Scored

BLOCKS, ENLARGE = 2, 2  # blocks of captions side by side, nearest-neighbour scale
TITLE, CAPTION, GAP, GUTTER = 0.26, 0.15, 0.03, 0.12  # inches
WIDE = 0.5  # inches of a column from which titles have their full size
Column = tuple[str, Scored | None]  # title, whose pictures; None for the layout itself


def enlarged(pixels: np.ndarray) -> np.ndarray:
    return pixels.repeat(ENLARGE, 0).repeat(ENLARGE, 1)


def _boxes(axes: Any, row: Layout, *, label: bool) -> None:
    """Each object's box in its own colour; filled and named in the layout column, outlined on images."""
    for i, (name, (x1, y1, x2, y2)) in enumerate(zip(row.names, row.boxes, strict=True)):
        colour = style.COLOURS[i % len(style.COLOURS)]
        corner, width, height = (x1, y1), x2 - x1, y2 - y1
        axes.add_patch(patches.Rectangle(corner, width, height, fill=False, edgecolor=colour, linewidth=0.9))
        if label:
            axes.add_patch(patches.Rectangle(corner, width, height, color=colour, alpha=0.16, linewidth=0))
            axes.text((x1 + x2) / 2, (y1 + y2) / 2, name, ha="center", va="center", fontsize=6.5, color=style.INK)


def panel(axes: Any, row: Layout, pixels: np.ndarray | None) -> None:
    axes.set(xlim=(0, 1), ylim=(1, 0), xticks=[], yticks=[], aspect="equal")
    for spine in axes.spines.values():
        spine.set(visible=True, color=style.PALE, linewidth=0.5)
    if pixels is not None:
        axes.imshow(pixels, extent=(0, 1, 1, 0), interpolation="none")
    _boxes(axes, row, label=pixels is None)


def _columns(results: Results) -> list[Column]:
    """The layout, the real image, and a column for each arm that is shown."""
    arms = [(arm, results.scored(arm)[0]) for arm in results.config.study.shown_arms]
    return [("layout", None), ("real", REAL), *arms]


@dataclass(frozen=True)
class _Page:
    """Where things stand on the page, in inches; `spot` turns them into matplotlib's fractions."""

    height: float
    side: float  # of a picture's cell

    def spot(self, x: float, y: float, w: float, h: float) -> tuple[float, float, float, float]:
        return x / style.PAGE, y / self.height, w / style.PAGE, h / self.height

    def text(self, figure: Any, x: float, y: float, words: str, **kind: Any) -> None:
        figure.text(x / style.PAGE, y / self.height, words, va="center", **kind)


def _block(
    figure: Any, page: _Page, left: float, indices: list[int], columns: list[Column], pictures: Pictures
) -> None:
    """One block of captions from `left`: titles on top, then a caption and its pictures for every row."""
    size = 7.0 * min(1.0, page.side / WIDE)
    for c, (title, _) in enumerate(columns):
        x = left + (c + 0.5) * page.side
        page.text(figure, x, page.height - TITLE / 2, title.replace("-", "-\n"), ha="center", fontsize=size,
                  linespacing=1.0, color=style.GREY)  # fmt: skip
    for r, index in enumerate(indices):
        row = pictures.layout(index)
        top = page.height - TITLE - r * (page.side + CAPTION)
        page.text(figure, left + 0.02, top - CAPTION / 2, row.caption, fontsize=6.3, color=style.INK)
        for c, (_, of) in enumerate(columns):
            side = page.side - GAP
            where = page.spot(left + c * page.side, top - CAPTION - side, side, side)
            pixels = enlarged(pictures.image(of, index)) if of else None
            panel(figure.add_axes(where), row, pixels)


def samples(results: Results, folder: Path) -> str:
    """Draw the grid into `folder`; returns its caption."""
    columns, pictures, indices = _columns(results), Pictures(results), in_grid(results)
    rows = -(-len(indices) // BLOCKS)
    blocks = [indices[i : i + rows] for i in range(0, len(indices), rows)]
    side = (style.PAGE - GUTTER * (len(blocks) - 1)) / (len(columns) * len(blocks))
    page = _Page(TITLE + (side + CAPTION) * len(blocks[0]), side)
    figure = plt.figure(figsize=(style.PAGE, page.height))
    for b, block in enumerate(blocks):
        left = b * (len(columns) * side + GUTTER)
        _block(figure, page, left, block, columns, pictures)
    style.save(figure, folder, "samples")
    return (
        f"The first {len(indices)} test layouts with two objects or more, not picked: the boxes asked for, "
        f"the real scene, and each arm's sample at seed {results.first().seed}, from the same noise. Captions name the "
        "objects, not their places; the boxes are drawn over the samples afterwards."
    )
