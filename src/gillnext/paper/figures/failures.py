"""The reference arm's worst samples: what failing looks like."""

from __future__ import annotations

import textwrap

from matplotlib.figure import Figure

from gillnext.paper import panels, style
from gillnext.paper.style import Drawn
from gillnext.record.pictures import WORST, Pictures, failing
from gillnext.record.results import Results

LINE = 11  # characters of a caption's line


def draw(results: Results) -> Drawn:
    """The lowest mean IoU of the reference arm's first seed."""
    of, pictures, indices = results.first(), Pictures(results), failing(results)
    figure = Figure(figsize=(style.COLUMN, style.COLUMN / (WORST // 2) * 2 + 0.5), layout="constrained")
    for axes, index in zip(figure.subplots(2, WORST // 2).flat, indices, strict=False):
        row = pictures.layout(index)
        panels.panel(axes, row, panels.enlarged(pictures.image(of, index)))
        title = "\n".join(textwrap.wrap(row.caption, LINE))
        axes.set_title(title, fontsize=5.2, loc="left", pad=2, linespacing=1.05)
    return figure, (
        f"The {len(indices)} test layouts on which {of.arm}, seed {of.seed}, has the lowest mean IoU, with their boxes."
    )
