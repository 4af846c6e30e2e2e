"""A layout's boxes, over a picture or alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import patches

from gillnext.layouts import Layout
from gillnext.paper import style

ENLARGE = 2  # nearest-neighbour scale


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
