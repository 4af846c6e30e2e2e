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
from PIL import Image

from gillnext import layouts
from gillnext.layouts import Layout
from gillnext.paper import style
from gillnext.runtime.errors import UserError
from gillnext.tables.collect import Results

ROWS, BLOCKS, ENLARGE = 4, 2, 2  # captions a block, blocks side by side, nearest-neighbour scale
TITLE, CAPTION, GAP, GUTTER = 0.26, 0.15, 0.03, 0.12  # inches
WIDE = 0.5  # inches of a column from which titles have their full size
Column = tuple[str, Path | None, str]  # title, folder of images, command that makes them


def image_of(path: Path, command: str) -> np.ndarray:
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
    """(title, folder of images or None for the layout itself, command that makes them)."""
    columns: list[Column] = [
        ("layout", None, ""),
        ("real", results.root / "reference" / "real", "score --ceilings"),
    ]
    study = results.config.study
    for arm in study.shown_arms:
        seed = results.config.study.seeds_of(arm)[0]
        folder = results.root / "samples" / arm / str(seed) / "test"
        columns.append((arm, folder, f"sample --arm {arm} --seed {seed}"))
    return columns


@dataclass(frozen=True)
class _Page:
    """Where things stand on the page, in inches; `spot` turns them into matplotlib's fractions."""

    height: float
    side: float  # of a picture's cell

    def spot(self, x: float, y: float, w: float, h: float) -> tuple[float, float, float, float]:
        return x / style.PAGE, y / self.height, w / style.PAGE, h / self.height

    def text(self, figure: Any, x: float, y: float, words: str, **kind: Any) -> None:
        figure.text(x / style.PAGE, y / self.height, words, va="center", **kind)


def _block(figure: Any, page: _Page, left: float, rows: dict[int, Layout], columns: list[Column]) -> None:
    """One block of captions from `left`: titles on top, then a caption and its pictures for every row."""
    size = 7.0 * min(1.0, page.side / WIDE)
    for c, (title, _, _) in enumerate(columns):
        x = left + (c + 0.5) * page.side
        page.text(figure, x, page.height - TITLE / 2, title.replace("-", "-\n"), ha="center", fontsize=size,
                  linespacing=1.0, color=style.GREY)  # fmt: skip
    for r, (index, row) in enumerate(rows.items()):
        top = page.height - TITLE - r * (page.side + CAPTION)
        page.text(figure, left + 0.02, top - CAPTION / 2, row.caption, fontsize=6.3, color=style.INK)
        for c, (_, images, command) in enumerate(columns):
            side = page.side - GAP
            where = page.spot(left + c * page.side, top - CAPTION - side, side, side)
            pixels = image_of(images / f"{index:05d}.png", command) if images else None
            panel(figure.add_axes(where), row, pixels)


def _asked(results: Results) -> tuple[Path, list[Layout], list[int]]:
    """The file of the layouts that were sampled, the layouts in it, and which of them the grid shows."""
    seed = results.config.study.seeds_of(results.reference)[0]
    where = results.root / "samples" / results.reference / str(seed) / "test" / "layouts.jsonl"
    if not where.exists():
        raise UserError("no such file", where=str(where), remedy=f"`gillnext sample --seed {seed}` makes it")
    rows = layouts.read(where)
    return where, rows, chosen(rows, ROWS * BLOCKS)


def sources(results: Results) -> list[Path]:
    """Every file that the grid is drawn from."""
    where, _, indices = _asked(results)
    folders = [folder for _, folder, _ in _columns(results) if folder]
    return [where, *(folder / f"{index:05d}.png" for folder in folders for index in indices)]


def samples(results: Results, folder: Path) -> str:
    """Draw the grid into `folder`; returns its caption."""
    columns, seed = _columns(results), results.config.study.seeds_of(results.reference)[0]
    _, rows, indices = _asked(results)
    blocks = [indices[i : i + ROWS] for i in range(0, len(indices), ROWS)]
    side = (style.PAGE - GUTTER * (len(blocks) - 1)) / (len(columns) * len(blocks))
    page = _Page(TITLE + (side + CAPTION) * len(blocks[0]), side)
    figure = plt.figure(figsize=(style.PAGE, page.height))
    for b, block in enumerate(blocks):
        left = b * (len(columns) * side + GUTTER)
        _block(figure, page, left, {i: rows[i] for i in block}, columns)
    style.save(figure, folder, "samples")
    return (
        f"The first {len(indices)} test layouts with two objects or more, not picked: the boxes asked for, "
        f"the real scene, and each arm's sample at seed {seed}, from the same noise. Captions name the objects, "
        "not their places; the boxes are drawn over the samples afterwards."
    )
