"""Memory of the backward pass, by the way to run it."""

from __future__ import annotations

import numpy as np

from gillnext.paper import style
from gillnext.paper.style import Drawn
from gillnext.record.results import Results
from gillnext.tables.memory import MODES, memory_modes


def draw(results: Results) -> Drawn:
    """Bytes saved for backward, one bar a mode."""
    modes = memory_modes(results)
    figure, axes = style.plot(style.COLUMN, 0.35 + 0.27 * len(modes))
    names = [f"{MODES.get(m, m)}" for m in modes]
    values = [v["saved_bytes"] / 2**20 for v in modes.values()]
    places = np.arange(len(names))[::-1]
    colours = [style.COLOURS[0] if m == "summed" else style.COLOURS[5] for m in modes]
    axes.barh(places, values, height=0.62, color=colours)
    for y, value in zip(places, values, strict=True):
        axes.text(value + max(values) * 0.015, y, f"{value:.1f}", va="center", fontsize=7)
    axes.set_yticks(places, names)
    axes.tick_params(axis="y", length=0)
    axes.set(xlabel="held for backward, MiB", xlim=(0, max(values) * 1.12))
    axes.spines["left"].set_visible(False)
    return figure, "Held when the last forward before a backward has ended; three losses unless it says one."
