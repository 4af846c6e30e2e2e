"""Box following over training: success@0.5 on validation layouts."""

from __future__ import annotations

import numpy as np

from gillnext.paper import style
from gillnext.paper.lines import band_words, spread, steps_axis, trained
from gillnext.paper.style import Drawn
from gillnext.record.results import VAE, Results


def draw(results: Results) -> Drawn:
    """Success@0.5 on validation layouts over the adapter's steps, with the autoencoder's ceiling and the
    chance level.
    """
    figure, axes = style.plot(style.COLUMN, 2.0)
    lengths = []
    for arm, look in trained(results).items():
        curves = results.curves(arm)
        if not curves:
            continue
        steps = [step for step, _ in curves[0]]
        values = np.array([[success for _, success in curve] for curve in curves])
        spread(axes, np.array(steps), values, arm, look)
        lengths.append(steps[-1])
    levels = [("real images through the VAE", results.metric(VAE, "success50"))]
    levels.append(("chance: boxes redrawn", results.over_seeds(results.reference, "chance_success50").mean))
    for name, level in levels:
        axes.axhline(level, color=style.GREY, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
        axes.text(max(lengths, default=0), level + 0.015, name, ha="right", va="bottom", fontsize=6.5, color=style.GREY)
    axes.set(xlabel="adapter steps", ylabel="success@0.5 (validation)", ylim=(0, 1.08))
    steps_axis(axes, lengths)
    style.quiet_grid(axes)
    style.legend(figure, axes)
    words, n = band_words(results), results.config.curve.images
    seen = f"When each arm begins to follow boxes, on {n} validation layouts."
    return figure, f"{seen} {words} The dashed lines are levels on the test set."
