"""The grid of samples: one row a caption, one column each for the layout, the real image and every arm.

The captions are the first test layouts with two objects or more: nothing is picked by how it came out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from gillnext.paper import style
from gillnext.paper.panels import enlarged, panel
from gillnext.paper.style import Drawn
from gillnext.record.pictures import Pictures, in_grid
from gillnext.record.results import REAL, Results, Scored

BLOCKS = 2  # blocks of captions side by side
TITLE, CAPTION, GAP, GUTTER = 0.26, 0.15, 0.03, 0.12  # inches
WIDE = 0.5  # inches of a column from which titles have their full size
Column = tuple[str, Scored | None]  # title, whose pictures; None for the layout itself


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


def draw(results: Results) -> Drawn:
    columns, pictures, indices = _columns(results), Pictures(results), in_grid(results)
    rows = -(-len(indices) // BLOCKS)
    blocks = [indices[i : i + rows] for i in range(0, len(indices), rows)]
    side = (style.PAGE - GUTTER * (len(blocks) - 1)) / (len(columns) * len(blocks))
    page = _Page(TITLE + (side + CAPTION) * len(blocks[0]), side)
    figure = Figure(figsize=(style.PAGE, page.height))
    for b, block in enumerate(blocks):
        left = b * (len(columns) * side + GUTTER)
        _block(figure, page, left, block, columns, pictures)
    return figure, (
        f"The first {len(indices)} test layouts with two objects or more, not picked: the boxes asked for, "
        f"the real scene, and each arm's sample at seed {results.first().seed}, from the same noise. Captions name the "
        "objects, not their places; the boxes are drawn over the samples afterwards."
    )
