"""Where it fails: success by the position, shape, overlap and depth of a box, between chance level and ceiling."""

from __future__ import annotations

import numpy as np

from gillnext.paper import style
from gillnext.paper.bar_charts import bars, legend
from gillnext.paper.style import Drawn
from gillnext.record.results import VAE, Results
from gillnext.tables.strata import Part, parts

KINDS = {
    "position": "position",
    "aspect": "shape",
    "overlap": "largest IoU with another",
    "depth": "depth, where they overlap",
}


def _seeds(results: Results, arm: str, shown: list[Part]) -> dict[str, np.ndarray]:
    """Part -> the metric in it, a value a seed."""
    sets = results.scored(arm)
    return {part.part: np.array([value.value for of in sets if (value := part.of(results, of))]) for part in shown}


def _levels(results: Results, shown: list[Part]) -> dict[str, list[float]]:
    """What an arm could reach, and what it has without knowing boxes: a value a part, NaN where there is none."""
    ceilings = [part.of(results, VAE) for part in shown]
    chance = [part.over_seeds(results, results.reference, "chance_") for part in shown]
    return {
        "real, via VAE": [found.value if found else np.nan for found in ceilings],
        "chance": [found.mean if found else np.nan for found in chance],
    }


def draw(results: Results) -> Drawn | None:
    """A panel a kind of stratum, a cluster of bars a part; None where nothing was scored by strata."""
    found = [part for part in parts(results) if part.metric == "success50"]
    if not found:
        return None
    study, looks = results.config.study, dict(zip(("real, via VAE", "chance"), ("solid", "dotted"), strict=True))
    figure, panels = style.plot(style.PAGE, 1.9, columns=len(KINDS))
    for axes, (kind, label) in zip(panels, KINDS.items(), strict=True):
        shown = [part for part in found if part.kind == kind]
        data = {arm: _seeds(results, arm, shown) for arm in study.shown_arms}
        bars(axes, data, [part.part for part in shown], label, style.arm_colours(study.arms))
        places, counts = np.arange(len(shown)), [part.of(results, results.first()) for part in shown]
        axes.set_xticks(places, [f"{part.part}\n{of.n}" for part, of in zip(shown, counts, strict=True) if of])
        for name, values in _levels(results, shown).items():
            line = {"colors": style.INK, "linestyles": looks[name], "linewidth": 0.9}
            axes.hlines(values, places - 0.45, places + 0.45, label=name, **line)
    seeds = legend(results, figure, panels[0], 8)
    return figure, f"Success by position, shape, overlap and depth of the box, below each part its n; {seeds}"
