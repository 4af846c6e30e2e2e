"""The training loss."""

from __future__ import annotations

from gillnext.paper import style
from gillnext.paper.lines import POINTS, band_words, spread, steps_axis, trained, windowed
from gillnext.paper.style import Drawn
from gillnext.record.results import Results


def draw(results: Results) -> Drawn:
    """The training loss, averaged over windows, for every arm."""
    figure, axes = style.plot(style.COLUMN, 2.1)
    lengths = []
    for arm, look in trained(results).items():
        runs = results.histories(arm, "loss")
        lengths.append(min(map(len, runs)))
        spread(axes, *windowed(runs, lengths[-1]), arm, look)
    axes.set(xlabel="adapter steps", ylabel="training loss")
    steps_axis(axes, lengths)
    style.quiet_grid(axes)
    style.legend(figure, axes)
    return figure, f"Training loss, means over windows of a {POINTS}th of an arm's steps. {band_words(results)}"
