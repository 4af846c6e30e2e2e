"""All arms at a glance: box fidelity and KID with their intervals, a dot an arm."""

from __future__ import annotations

import numpy as np

from gillnext.paper import style
from gillnext.paper.style import Drawn
from gillnext.record.results import VAE, Results

PANELS = {"success50": "success@0.5 →", "miou": "mIoU →", "kid": "← KID"}


def draw(results: Results) -> Drawn:
    """One row an arm, best success on top; whiskers are 95% t intervals over seeds."""
    names = list(results.config.study.arms)
    names.sort(key=lambda name: results.over_seeds(name, "success50").mean)
    figure, panels = style.plot(style.PAGE, 0.55 + 0.11 * len(names), columns=len(PANELS))
    places = np.arange(len(names))
    for axes, (metric, label) in zip(panels, PANELS.items(), strict=True):
        found = [results.over_seeds(name, metric) for name in names]
        for several, fill in ((True, style.COLOURS[0]), (False, "white")):
            shown = [i for i, one in enumerate(found) if (one.half is not None) == several]
            means, halves = [found[i].mean for i in shown], [found[i].half or 0.0 for i in shown]
            axes.errorbar(means, places[shown], xerr=halves if several else None, fmt="o", markersize=3,
                          color=style.COLOURS[0], markerfacecolor=fill, elinewidth=0.8)  # fmt: skip
        axes.set(xlabel=label, ylim=(-0.6, len(names) - 0.4))
        axes.grid(axis="both", color=style.PALE, linewidth=0.4)
        axes.tick_params(axis="y", length=0)
    panels[0].set_yticks(places, names, fontsize=6)
    for axes in panels[:2]:
        ceiling = results.metric(VAE, "success50" if axes is panels[0] else "miou")
        axes.axvline(ceiling, color=style.GREY, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
        axes.set_xlim(0, 1.03)
    return figure, (
        "Every arm on the test layouts, means over its seeds with 95% t intervals; hollow: one seed, no interval. "
        "Dashed: real images through the autoencoder."
    )
