"""Gradient norms of the position net over training, by the coordinates that the tokens see."""

from __future__ import annotations

from typing import Any

import numpy as np

from gillnext.config.model import Arm
from gillnext.paper import style
from gillnext.paper.lines import spread, windowed
from gillnext.paper.style import Drawn
from gillnext.record.results import Results

SERIES = "position_net_norm"
COORDINATES = dict(zip(("unit", "raw", "clamp"), style.COLOURS, strict=False))
FREQUENCIES = {"gligen": "-", "sin2pi": (0, (3, 2))}


def compared(results: Results) -> list[list[str]]:
    """Arms that differ in coordinates or frequencies alone, a group for each site and bias with several of them."""
    groups: dict[tuple[str, str], list[str]] = {}
    for name, arm in results.config.study.arms.items():
        if arm.trained and not arm.unet_lr and arm.phrases and arm.times_adapter_steps == 1:
            groups.setdefault((arm.site, arm.bias), []).append(name)
    return [names for names in groups.values() if len(names) > 1]


def look(arm: Arm) -> dict[str, Any]:
    """A colour for the coordinates, a dash for the frequencies."""
    return {"color": COORDINATES[arm.coordinates], "linestyle": FREQUENCIES[arm.frequencies]}


def draw(results: Results) -> Drawn | None:
    """A panel for each bias; None, and no figure, where no two arms differ in coordinates alone."""
    groups = compared(results)
    if not groups:
        return None
    figure, panels = style.plot(style.PAGE, 2.3, columns=len(groups))
    for axes, names in zip(np.atleast_1d(panels), groups, strict=True):
        steps = min(len(results.histories(name, SERIES)[0]) for name in names)
        arms = {name: results.config.study.arms[name] for name in names}
        for name, arm in sorted(arms.items(), key=lambda item: list(COORDINATES).index(item[1].coordinates)):
            runs = windowed(results.histories(name, SERIES), steps, np.max)
            spread(axes, *runs, f"{arm.coordinates}, {arm.frequencies}", look(arm))
        first = results.config.study.arms[names[0]]
        axes.set(title=f"{first.site}, bias {first.bias}", xlabel="adapter steps", yscale="log")
        axes.legend(fontsize=6, ncols=2)
    np.atleast_1d(panels)[0].set_ylabel("gradient norm of the position net")
    return figure, (
        "Norm of the gradient of the position net (the MLP that makes the tokens) before clipping, "
        "by the coordinates and frequencies that it sees; the largest in each window of steps, bands from the lowest "
        "to the highest seed where there are several."
    )
