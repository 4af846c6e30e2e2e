"""The plots: box following and loss over training, memory of the backward pass and over one step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from gillnext.paper import style
from gillnext.record.results import VAE, Results
from gillnext.tables.memory import FAMILIES, MODES, families, memory_modes

COLOURS = dict(zip(("attn1", "attn2", "both", "gated"), style.COLOURS, strict=False))
POINTS = 40  # of a line, each the mean over a window of steps
LINES: dict[str, Any] = {"fourier": "-", "box": (0, (4, 1.5)), "none": (0, (1, 1.5))}


def _trained(results: Results) -> dict[str, dict[str, Any]]:
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


def _steps_axis(axes: Any, lengths: Sequence[int]) -> None:
    """Steps from 0, or on a log scale where some arms get many more than others."""
    if lengths and max(lengths) > 2 * min(lengths):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:.0f}")
    else:
        axes.set_xlim(0, None)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def _legend(figure: Any, axes: Any) -> None:
    """Above the plot, so that no line runs through it."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside upper center", ncols=min(len(labels), 3), handlelength=2.2)


def spread(axes: Any, x: np.ndarray, runs_SN: np.ndarray, label: str, look: dict[str, Any]) -> None:
    """The mean over seeds, and a band from the lowest to the highest seed."""
    axes.plot(x, runs_SN.mean(0), label=label, **look)
    if len(runs_SN) > 1:
        axes.fill_between(x, runs_SN.min(0), runs_SN.max(0), color=look["color"], alpha=0.15, linewidth=0)


def _band_words(results: Results) -> str:
    seeds = results.seed_words(_trained(results))
    return f"Mean of {seeds}; the band is their range." if seeds != "one seed" else "One seed."


def following(results: Results, folder: Path) -> str:
    """Success@0.5 on validation layouts over the adapter's steps, with the autoencoder's ceiling and the
    chance level.
    """
    figure, axes = style.plot(style.COLUMN, 2.3)
    lengths = []
    for arm, look in _trained(results).items():
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
    _steps_axis(axes, lengths)
    style.quiet_grid(axes)
    _legend(figure, axes)
    style.save(figure, folder, "following")
    words, n = _band_words(results), results.config.curve.images
    seen = f"When each arm begins to follow boxes, on {n} validation layouts."
    return f"{seen} {words} The dashed lines are levels on the test set."


def losses(results: Results, folder: Path) -> str:
    """The training loss, averaged over windows, for every arm."""
    figure, axes = style.plot(style.COLUMN, 2.1)
    lengths = []
    for arm, look in _trained(results).items():
        runs = results.histories(arm, "loss")
        lengths.append(min(map(len, runs)))
        spread(axes, *windowed(runs, lengths[-1]), arm, look)
    axes.set(xlabel="adapter steps", ylabel="training loss")
    _steps_axis(axes, lengths)
    style.quiet_grid(axes)
    _legend(figure, axes)
    style.save(figure, folder, "losses")
    return f"Training loss, means over windows of a {POINTS}th of an arm's steps. {_band_words(results)}"


def memory(results: Results, folder: Path) -> str:
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
    style.save(figure, folder, "memory")
    return "Held when the last forward before a backward has ended; three losses unless it says one."


def step(results: Results, folder: Path) -> str | None:
    """Live bytes over the operations of one step, a panel for each family of losses."""
    parts = families(results.memory).items()
    traced = {f: p["trace"] for f, p in parts if "checkpointed" in p.get("trace", {})}
    if not traced:
        return None
    figure, panels = style.plot(style.COLUMN, 1.9, len(traced))
    panels = np.atleast_1d(panels)
    for axes, (family, traces) in zip(panels, traced.items(), strict=True):
        for colour, mode in zip(style.COLOURS, [m for m in MODES if m in traces], strict=False):
            share, live = np.asarray(traces[mode]).T
            axes.plot(100 * share, live / 2**20, color=colour, label=MODES[mode], linewidth=0.9)
        axes.set_title(FAMILIES[family], fontsize=7)
        axes.set(xlim=(0, 100), ylim=(0, None))
    panels[0].set_ylabel("live, MiB")
    panels[-1].legend(fontsize=6)
    figure.supxlabel("operations of the step, %", fontsize=8)
    style.save(figure, folder, "step")
    return "Bytes of live tensors over the weights' in one step of three losses: three UNet forwards, and GILL's shape."
