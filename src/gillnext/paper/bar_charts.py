"""Success@0.5 by parts of the test set: a cluster of bars a part, one an arm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gillnext.paper import style
from gillnext.record.results import Results

SIZES = ("small", "medium", "large")

Groups = dict[str, np.ndarray]  # a group's success, one value a seed


def _groups(results: Results, arm: str, kind: str) -> Groups | None:
    """None where a set has no parts of that kind."""
    parts = [results.groups(of, kind, "success50") for of in results.scored(arm)]
    if not all(parts):
        return None
    order = SIZES if kind == "size" else sorted(parts[0])
    known = [g for g in order if all(g in part and part[g].n for part in parts)]
    return {g: np.array([part[g].value for part in parts]) for g in known}


def by_arm(results: Results, kind: str) -> dict[str, Groups] | None:
    """Every arm's groups; None unless all have them."""
    shown = results.config.study.shown_arms
    data = {arm: groups for arm in shown if (groups := _groups(results, arm, kind))}
    return data if len(data) == len(shown) else None


def bars(axes: Any, data: dict[str, Groups], order: Sequence[str], label: str, colours: dict[str, str]) -> None:
    """A cluster of bars a group, one an arm; whiskers span half the seeds' range."""
    width, missing = 0.8 / len(data), np.array([np.nan])
    for i, (arm, groups) in enumerate(data.items()):
        values = [groups.get(g, missing) for g in order]
        x = np.arange(len(order)) + (i - (len(data) - 1) / 2) * width
        axes.bar(x, [v.mean() for v in values], width * 0.92, color=colours[arm], label=arm,
                 yerr=[(v.max() - v.min()) / 2 for v in values],
                 error_kw={"elinewidth": 0.7, "ecolor": style.INK})  # fmt: skip
    axes.set_xticks(np.arange(len(order)), order)
    axes.set(xlabel=label, ylim=(0, 1.05))
    style.quiet_grid(axes)
    axes.tick_params(axis="x", length=0)


def legend(results: Results, figure: Any, axes: Any, ncols: int) -> str:
    """Label and legend, of `ncols` columns at most; returns what the caption says of the seeds."""
    axes.set_ylabel("success@0.5")
    style.legend(figure, axes, ncols, 1)
    seeds = results.seed_words(results.config.study.shown_arms)
    return f"mean of {seeds}; whiskers: half their range." if seeds != "one seed" else "one seed."
