"""The figures of InstructPix2Pix over frames: clips with what was drawn of them, tasks, and guidance scales."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from gillnext.layouts import Layout
from gillnext.paper import style
from gillnext.paper.panels import enlarged, panel
from gillnext.paper.style import Drawn
from gillnext.supplement.frames import MODELS, TASKS
from gillnext.supplement.storyboard import Shown

COLUMNS = {
    "first": "frame 0", "middle": "frame 9", "last": "frame 19", "target": "target", "frames": "20 frames",
    "one": "last frame", "untold": "20 frames,\nuntold", "repeated": "last frame\n20 times", "mean": "mean of 20",
}  # fmt: skip
TEXT, GAP, TITLE = 0.17, 0.04, 0.24  # inches: an instruction, what lies between, a heading
NAMES = {"frames": "20 frames", "untold": "untold", "repeated": "last ×20", "one": "last frame, 8 channels"}
BARE = Layout("", (), ())


def clips(shown: Shown) -> Drawn | None:
    """The first test clips of each task; None where there are none."""
    if not shown.rows:
        return None
    side = (style.PAGE - GAP * (len(COLUMNS) - 1)) / len(COLUMNS)
    height = TITLE + len(shown.rows) * (side + TEXT)
    figure = Figure(figsize=(style.PAGE, height))
    for c, title in enumerate(COLUMNS.values()):
        x = (c * (side + GAP) + side / 2) / style.PAGE
        figure.text(x, 1 - TITLE / 2 / height, title, ha="center", va="center", fontsize=6, linespacing=1.0)
    for r, row in enumerate(shown.rows):
        top = height - TITLE - r * (side + TEXT)
        figure.text(0, (top - TEXT / 2) / height, row["instruction"], va="center", fontsize=6.5, color=style.INK)
        for c, what in enumerate(COLUMNS):
            corner = c * (side + GAP) / style.PAGE, (top - TEXT - side) / height
            axes = figure.add_axes((*corner, side / style.PAGE, side / height))
            panel(axes, BARE, enlarged(shown.image(row["name"], what)))
    count = len(shown.rows)
    return figure, (
        f"The first {count} test clips, not picked: three of the frames, the target, and what was drawn. The model "
        "of the last frame has the same instruction; “untold” is the model of 20 frames without one."
    )


def tasks(scores: dict[str, Any]) -> Drawn | None:
    """Success of each model by task; None where success is not known."""
    known = [task for task in scores["tasks"] if "success" in scores["tasks"][task]["frames"]["metrics"]]
    if not known:
        return None
    figure, axes = style.plot(style.COLUMN, 2.0)
    width = 0.8 / len(MODELS)
    for k, way in enumerate(MODELS):
        groups = [scores["tasks"][task][way] for task in known]
        values = np.array([group["metrics"]["success"] for group in groups])
        ends = np.array([group["intervals"]["success"] for group in groups]).T
        places = np.arange(len(known)) + (k - (len(MODELS) - 1) / 2) * width
        axes.bar(places, values, width * 0.92, color=style.COLOURS[k], label=NAMES[way])
        axes.vlines(places, ends[0], ends[1], color=style.INK, linewidth=0.7)
    for t, task in enumerate(known):
        for way, colour in (("target", style.GREYS[1]), ("chance", style.GREYS[0])):
            level = scores["tasks"][task][way]["metrics"]["success"]
            axes.hlines(level, t - 0.45, t + 0.45, color=colour, linewidth=0.8, linestyle="--")
    axes.set(xticks=range(len(known)), xticklabels=[TASKS.get(task, task) for task in known], ylim=(0, 1.05))
    axes.set(ylabel="instruction carried out")
    style.quiet_grid(axes)
    style.legend(figure, axes, columns=2)
    return figure, (
        "What twenty frames bring: instructions that were carried out, by task, with 95% intervals over clips. Dashed: "
        "the true target (above) and another clip's (below). In “move on” the last frame does not tell the direction."
    )


def sweep(scores: dict[str, Any]) -> Drawn | None:
    """Success and error inside over the scales of the instruction, a line an image scale."""
    cells = scores["sweep"]["cells"]
    if not cells:
        return None
    figure = Figure(figsize=(style.COLUMN, 1.9), layout="constrained")
    axes = figure.subplots(1, 2)
    for k, image in enumerate(sorted({cell["image"] for cell in cells})):
        own = [cell for cell in cells if cell["image"] == image]
        for place, key in zip(axes, ("success", "inside"), strict=True):
            values = [cell["metrics"].get(key, np.nan) for cell in own]
            colour = style.COLOURS[k % len(style.COLOURS)]
            place.plot(
                [cell["text"] for cell in own], values, color=colour, marker="o", markersize=2.5, label=f"{image:g}"
            )
    for place in axes:
        place.set(xlabel="scale of the instruction")
    axes[0].set(title="success", ylim=(0, 1.05))
    axes[1].set(title="error inside, of 255")
    style.legend(figure, axes[0], columns=4)
    return (
        figure,
        f"The two guidance scales on {scores['sweep']['n']} validation clips; colours are scales of the frames.",
    )


def figures(scores: dict[str, Any], shown: Path) -> dict[str, Drawn | None]:
    """The figures of this part, by name; `shown` is the archive of `gillnext storyboard`."""
    return {"clips": clips(Shown(shown)), "clip_tasks": tasks(scores), "clip_scales": sweep(scores)}
