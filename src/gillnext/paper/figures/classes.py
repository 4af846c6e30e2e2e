"""Where it fails: success by class of the requested object."""

from __future__ import annotations

from gillnext.paper import style
from gillnext.paper.bar_charts import bars, by_arm, legend
from gillnext.paper.style import Drawn
from gillnext.record.results import Results


def draw(results: Results) -> Drawn | None:
    """Success by the requested object's class, the reference arm's best first; None where none was scored."""
    data = by_arm(results, "class")
    if data is None:
        return None
    reference = data[results.config.study.reference]
    order = sorted(reference, key=lambda name: -float(reference[name].mean()))
    figure, axes = style.plot(style.PAGE, 1.75)
    bars(axes, data, order, "requested object", style.arm_colours(results.config.study.arms))
    seeds = legend(results, figure, axes, 6)
    return figure, f"Success by class of the requested object, {seeds}"
