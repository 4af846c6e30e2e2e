"""Memory over one training step."""

from __future__ import annotations

import numpy as np

from gillnext.paper import style
from gillnext.paper.style import Drawn
from gillnext.record.results import Results
from gillnext.tables.memory import MODES, WORKLOADS, workloads


def draw(results: Results) -> Drawn | None:
    """Live bytes over the operations of one step, a panel for each workload."""
    parts = workloads(results.memory).items()
    traced = {f: p["trace"] for f, p in parts if "checkpointed" in p.get("trace", {})}
    if not traced:
        return None
    figure, panels = style.plot(style.COLUMN, 1.9, len(traced))
    panels = np.atleast_1d(panels)
    for axes, (workload, traces) in zip(panels, traced.items(), strict=True):
        for colour, mode in zip(style.COLOURS, [m for m in MODES if m in traces], strict=False):
            share, live = np.asarray(traces[mode]).T
            axes.plot(100 * share, live / 2**20, color=colour, label=MODES[mode], linewidth=0.9)
        axes.set_title(WORKLOADS[workload], fontsize=7)
        axes.set(xlim=(0, 100), ylim=(0, None))
    panels[0].set_ylabel("live, MiB")
    panels[-1].legend(fontsize=6)
    figure.supxlabel("operations of the step, %", fontsize=8)
    return figure, (
        "Bytes of live tensors over the weights' in one step of three losses: three UNet forwards, and GILL's shape."
    )
