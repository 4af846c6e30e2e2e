"""FID against the number of images: why values at different n are never compared."""

from __future__ import annotations

import numpy as np

from gillnext.paper import style
from gillnext.paper.style import Drawn
from gillnext.record.results import Results


def _curves(results: Results, arm: str) -> list[dict[str, float]]:
    """n → FID of every seed; nothing where a set lacks it."""
    curves = [{n: found.value for n, found in results.groups(of, "n", "fid").items()} for of in results.scored(arm)]
    return curves if all(curves) else []


def draw(results: Results) -> Drawn | None:
    """A line for the base and the reference arm, over their seeds; None where the score files lack the curve."""
    arms = [arm for arm in (results.base, results.reference) if arm]
    curves = {arm: found for arm in arms if (found := _curves(results, arm))}
    if not curves:
        return None
    figure, axes = style.plot(style.COLUMN, 1.8)
    for colour, (arm, found) in zip(style.COLOURS, curves.items(), strict=False):
        sizes = sorted(map(int, found[0]))
        values_SN = np.array([[curve[str(n)] for n in sizes] for curve in found])
        axes.plot(sizes, values_SN.mean(0), marker="o", markersize=3, color=colour, label=arm)
        axes.fill_between(sizes, values_SN.min(0), values_SN.max(0), color=colour, alpha=0.15, linewidth=0)
    axes.set(xlabel="images", ylabel="FID", xscale="log")
    axes.minorticks_off()
    axes.set_xticks(sizes, [str(n) for n in sizes])
    style.quiet_grid(axes)
    axes.legend(handlelength=2)
    return (
        figure,
        "FID of the same samples against the number of them, random subsets; the band is the range of the seeds.",
    )
