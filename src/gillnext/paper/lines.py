"""Lines over the steps of training: a colour a site, a dash a bias, a band over the seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from gillnext.paper import style
from gillnext.record.results import Results

COLOURS = dict(zip(("attn1", "attn2", "both", "gated"), style.COLOURS, strict=False))
POINTS = 40  # of a line, each the mean over a window of steps
LINES: dict[str, Any] = {"fourier": "-", "box": (0, (4, 1.5)), "none": (0, (1, 1.5))}


def trained(results: Results) -> dict[str, dict[str, Any]]:
    """The arms that differ in site and bias alone, the longest of each: a colour a site, a dash a bias."""
    return {
        name: {"color": COLOURS.get(site, style.GREY), "linestyle": "-" if site == "gated" else LINES.get(bias, "-.")}
        for (site, bias), name in results.config.study.longest.items()
    }


def windowed(
    runs: Sequence[Sequence[float]], steps: int, of: Callable[..., np.ndarray] = np.mean
) -> tuple[np.ndarray, np.ndarray]:
    """The first `steps` of every run by windows: (N,) their middles, (S, N) what `of` makes of each (means)."""
    window = max(1, steps // POINTS)
    count = steps // window
    values_SNW = np.array([run[: count * window] for run in runs], dtype=float).reshape(-1, count, window)
    return (np.arange(count) + 0.5) * window, of(values_SNW, axis=2)


def steps_axis(axes: Any, lengths: Sequence[int]) -> None:
    """Steps from 0, or on a log scale where some arms get many more than others."""
    if lengths and max(lengths) > 2 * min(lengths):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:.0f}")
    else:
        axes.set_xlim(0, None)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def spread(axes: Any, x: np.ndarray, runs_SN: np.ndarray, label: str, look: dict[str, Any]) -> None:
    """The mean over seeds, and a band from the lowest to the highest seed."""
    axes.plot(x, runs_SN.mean(0), label=label, **look)
    if len(runs_SN) > 1:
        axes.fill_between(x, runs_SN.min(0), runs_SN.max(0), color=look["color"], alpha=0.15, linewidth=0)


def band_words(results: Results) -> str:
    seeds = results.seed_words(trained(results))
    return f"Mean of {seeds}; the band is their range." if seeds != "one seed" else "One seed."
