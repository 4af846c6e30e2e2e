"""The grid of samples: one row a caption, one column each for the layout, the real image and every arm.

The captions are the first test layouts with two objects or more: nothing is picked by how it came out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import patches
from matplotlib import pyplot as plt
from PIL import Image

from gillnext import layouts
from gillnext.layouts import Layout
from gillnext.paper import style
from gillnext.runtime.errors import UserError
from gillnext.tables.collect import Results

ROWS, BLOCKS, ENLARGE = 4, 2, 2  # captions a block, blocks side by side, nearest-neighbour scale of the pixels


def _image(path: Path, command: str) -> np.ndarray:
    if not path.exists():
        raise UserError("no such image", where=str(path), remedy=f"make it with `gillnext {command}`")
    pixels = np.asarray(Image.open(path).convert("RGB"))
    return pixels.repeat(ENLARGE, 0).repeat(ENLARGE, 1)


def chosen(rows: list[Layout], count: int) -> list[int]:
    """The first `count` layouts with two objects or more, filled up with the first of the others."""
    several = [i for i, row in enumerate(rows) if len(row.names) >= 2]
    others = [i for i, row in enumerate(rows) if len(row.names) < 2]
    return sorted((several + others)[:count])


def _boxes(axes: Any, row: Layout, *, label: bool) -> None:
    """Each object's box in its own colour; filled and named in the layout column, outlined on images."""
    for i, (name, (x1, y1, x2, y2)) in enumerate(zip(row.names, row.boxes, strict=True)):
        colour = style.COLOURS[i % len(style.COLOURS)]
        shape = {"linewidth": 0.9, "edgecolor": colour, "clip_on": True}
        if label:
            axes.add_patch(patches.Rectangle((x1, y1), x2 - x1, y2 - y1, facecolor=colour, alpha=0.16, linewidth=0))
        axes.add_patch(patches.Rectangle((x1, y1), x2 - x1, y2 - y1, facecolor="none", **shape))
        if label:
            axes.text((x1 + x2) / 2, (y1 + y2) / 2, name, ha="center", va="center", fontsize=6.5, color=style.INK)


def _panel(axes: Any, row: Layout, pixels: np.ndarray | None) -> None:
    axes.set(xlim=(0, 1), ylim=(1, 0), xticks=[], yticks=[], aspect="equal")
    for spine in axes.spines.values():
        spine.set(visible=True, color=style.PALE, linewidth=0.5)
    if pixels is not None:
        axes.imshow(pixels, extent=(0, 1, 1, 0), interpolation="none")
    _boxes(axes, row, label=pixels is None)


def _columns(results: Results) -> list[tuple[str, Path | None, str]]:
    """(title, folder of images or None for the layout itself, command that makes them)."""
    seed = results.config.study.seeds[0]
    columns: list[tuple[str, Path | None, str]] = [
        ("layout", None, ""),
        ("real", results.root / "reference" / "real", "score --ceilings"),
    ]
    for arm in results.config.study.arms:
        folder = results.root / "samples" / arm / str(seed) / "test"
        columns.append((arm, folder, f"sample --arm {arm} --seed {seed}"))
    return columns


def samples(results: Results, folder: Path) -> str:
    """Draw the grid into `folder`; returns its caption."""
    columns, seed = _columns(results), results.config.study.seeds[0]
    where = results.root / "samples" / results.reference / str(seed) / "test" / "layouts.jsonl"
    if not where.exists():
        raise UserError("no such file", where=str(where), remedy=f"make it with `gillnext sample --seed {seed}`")
    rows = layouts.read(where)
    indices = chosen(rows, ROWS * BLOCKS)
    blocks = [indices[i : i + ROWS] for i in range(0, len(indices), ROWS)]
    side = (style.PAGE - 0.12 * len(blocks)) / (len(columns) * len(blocks))
    figure = plt.figure(figsize=(style.PAGE, 0.18 + (side + 0.15) * len(blocks[0])))
    height = figure.get_figheight()
    for b, block in enumerate(blocks):
        left = b * (len(columns) * side + 0.12)
        for r, index in enumerate(block):
            top = height - 0.18 - r * (side + 0.15)
            figure.text((left + 0.02) / style.PAGE, (top - 0.075) / height, rows[index].caption, fontsize=6.3,
                        va="center", color=style.INK)  # fmt: skip
            for c, (title, images, command) in enumerate(columns):
                x, y = left + c * side, top - 0.15 - side + 0.03
                frame = (x / style.PAGE, y / height, (side - 0.03) / style.PAGE, (side - 0.03) / height)
                axes = figure.add_axes(frame)
                _panel(axes, rows[index], _image(images / f"{index:05d}.png", command) if images else None)
                if r == 0:
                    figure.text((x + side / 2) / style.PAGE, 1 - 0.09 / height, title, fontsize=7, ha="center",
                                va="center", color=style.GREY)  # fmt: skip
    style.save(figure, folder, "samples")
    return (
        f"The first {len(indices)} test layouts with two objects or more, not picked: the boxes asked for, the real "
        f"scene, and each arm's sample at seed {seed}. Captions name the objects, not their "
        "places; boxes are drawn on the samples, not given to the evaluator."
    )
