"""The reference arm's worst samples: what failing looks like."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

from gillnext import layouts
from gillnext.paper import grid, style
from gillnext.tables.collect import Results

SHOWN = 8
LINE = 11  # characters of a caption's line


def worst(per_image: dict[str, list[float]], count: int) -> list[int]:
    """Images with the lowest mean IoU over their boxes, the lowest first; ties in their order."""
    boxes, total = np.array(per_image["boxes"]), np.array(per_image["iou"])
    means = np.where(boxes > 0, total / np.maximum(boxes, 1), np.inf)
    return [int(i) for i in np.argsort(means, kind="stable")[:count]]


def _asked(results: Results) -> tuple[Path, int, list[int]]:
    """Folder and seed of the reference arm's first samples, and which of them are shown."""
    arm = results.reference
    seed = results.config.study.seeds_of(arm)[0]
    per_image = results.read(*results.score(arm, seed)).get("per_image")
    return results.root / "samples" / arm / str(seed) / "test", seed, worst(per_image, SHOWN) if per_image else []


def sources(results: Results) -> list[Path]:
    """Every picture that is shown."""
    samples, _, indices = _asked(results)
    return [samples / f"{index:05d}.png" for index in indices]


def failures(results: Results, folder: Path) -> str | None:
    """The lowest mean IoU of the reference arm's first seed; None where the score file has no images of its own."""
    arm, (samples, seed, indices) = results.reference, _asked(results)
    if not indices:
        return None
    rows = layouts.read(samples / "layouts.jsonl")
    figure, panels = plt.subplots(
        2, SHOWN // 2, figsize=(style.COLUMN, style.COLUMN / (SHOWN // 2) * 2 + 0.5), layout="constrained"
    )
    for axes, index in zip(panels.flat, indices, strict=False):
        image = grid.image_of(samples / f"{index:05d}.png", f"sample --arm {arm} --seed {seed}")
        grid.panel(axes, rows[index], image)
        title = "\n".join(textwrap.wrap(rows[index].caption, LINE))
        axes.set_title(title, fontsize=5.2, loc="left", pad=2, linespacing=1.05)
    style.save(figure, folder, "failures")
    return f"The {len(indices)} test layouts on which {arm}, seed {seed}, has the lowest mean IoU, with their boxes."
