"""Where it fails: success by number of objects and by box size."""

from __future__ import annotations

from gillnext.paper import style
from gillnext.paper.bar_charts import bars, by_arm, legend
from gillnext.paper.style import Drawn
from gillnext.record.results import Results


def draw(results: Results) -> Drawn | None:
    """Success by objects in the layout and by box size; None, and no figure, where none was scored."""
    kinds = {"objects": "objects in the layout", "size": "size of the box"}
    data = {kind: arms for kind in kinds if (arms := by_arm(results, kind))}
    if len(data) < len(kinds):
        return None
    colours = style.arm_colours(results.config.study.arms)
    figure, both = style.plot(style.COLUMN, 1.75, columns=2)
    for axes, (kind, label) in zip(both, kinds.items(), strict=True):
        bars(axes, data[kind], list(next(iter(data[kind].values()))), label, colours)
    seeds = legend(results, figure, both[0], 3)
    return figure, f"Success by number of objects and by box size, {seeds}"
