"""The bars that a run is measured against: names, thresholds and where the measured value comes from.

No measured value stands here. Bars on time and memory are in `COST`; they go to the cost tables.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from gillnext.runtime.errors import UserError
from gillnext.tables.collect import Results
from gillnext.tables.statistics import Estimate, paired
from gillnext.tables.table import Cell, Column, Table, number, scientific, text

Sense = Literal[">=", "<="]
EXACT = 6  # digits at most


@dataclass(frozen=True)
class Bar:
    """`sense` and `threshold` are the bar; `measure` reads the value, `digits` prints it (-1: as a power of ten).

    `tier` None holds in every tier; a bar `against_base` in runs that have the base.
    """

    key: str
    name: str
    sense: Sense
    threshold: float
    measure: Callable[[Results], float]
    digits: int = 3
    tier: str | None = None
    against_base: bool = False

    def met(self, value: float) -> bool:
        return value >= self.threshold if self.sense == ">=" else value <= self.threshold

    def shown(self, value: float) -> Cell:
        """The value as printed, with as many more digits as it takes to stand on its side of the threshold."""
        if self.digits < 0:
            return scientific(value)
        near = (d for d in range(self.digits, EXACT) if self.met(round(value, d)) == self.met(value))
        return number(value, next(near, EXACT))


@dataclass(frozen=True)
class CostBar:
    """A bar on a total of the cost table; `tier` None holds in every tier."""

    key: str
    name: str
    threshold: float
    unit: str
    tier: str | None


def _ceiling(name: str) -> Callable[[Results], float]:
    return lambda r: r.metric(*r.ceilings["real"], name)


def _reference(name: str) -> Callable[[Results], float]:
    return lambda r: r.over_seeds(r.reference, name).mean


def best(r: Results) -> str:
    """The trained arm with the highest success on validation layouts at the end of its training, mean over seeds: of
    those with as many seeds as the reference arm's, or of all; the reference arm where none was validated.
    """
    curves = {arm: [c for c in r.histories(arm, "curve.json") if c] for arm in r.config.study.trained}
    most = min(len(r.config.study.seeds_of(r.reference)), len(r.config.study.seeds))
    whole = {arm: found for arm, found in curves.items() if len(found) >= most} or curves
    ends = {arm: statistics.fmean(c[-1]["success50"] for c in found) for arm, found in whole.items() if found}
    return max(ends, key=ends.__getitem__, default=r.reference)


def _best(name: str) -> Callable[[Results], float]:
    return lambda r: r.over_seeds(best(r), name).mean


def _over_base(r: Results, name: str) -> Estimate:
    """The best arm's metric less the base's, paired by seed."""
    return paired(*r.both(best(r), str(r.base), name))


def _clip_over_base(r: Results) -> float:
    return _over_base(r, "clip_score").mean


def _kid_over_base(r: Results) -> float:
    over = _over_base(r, "kid")
    return over.mean if over.half is None else over.low


def _images(r: Results) -> float:
    return min(r.size(*r.score(r.reference, seed)) for seed in r.config.study.seeds_of(r.reference))


def _chance_ratio(r: Results) -> float:
    return _ratio(r, r.over_seeds(r.reference, "chance_success50").mean)


def _base_ratio(r: Results) -> float:
    return _ratio(r, r.over_seeds(str(r.base), "success50").mean)


def _ratio(r: Results, level: float) -> float:
    return level / max(r.over_seeds(r.reference, "success50").mean, 1e-9)


def _data(name: str) -> Callable[[Results], float]:
    return lambda r: r.metric(*r.data, name)


def _planner(name: str) -> Callable[[Results], float]:
    return lambda r: r.metric(*r.planner, name)


def _gradients(r: Results) -> float:
    differences = r.read(*r.memory).get("max_gradient_difference", {})
    if "split" not in differences:
        where = str(r.root / r.memory[0])
        raise UserError("max_gradient_difference.split is missing", where=where, remedy="run `gillnext memory` again")
    return float(differences["split"])


BARS: list[Bar] = [
    Bar("ceiling_success50", "evaluator on real scenes, success@0.5", ">=", 0.98, _ceiling("success50")),
    Bar("ceiling_miou", "evaluator on real scenes, mIoU", ">=", 0.90, _ceiling("miou")),
    Bar("test_images", "test images of the reference arm, each seed", ">=", 500, _images, 0),
    Bar("reference_success50", "reference arm, success@0.5", ">=", 0.85, _reference("success50")),
    Bar("reference_miou", "reference arm, mIoU", ">=", 0.68, _reference("miou")),
    Bar("best_success50", "best arm, success@0.5", ">=", 0.93, _best("success50"), tier="study"),
    Bar("best_miou", "best arm, mIoU", ">=", 0.75, _best("miou"), tier="study"),
    Bar("best_clip", "best arm over the base, CLIP score", ">=", 0.0, _clip_over_base, 2, "study", True),
    Bar(
        "best_kid",
        "best arm over the base, KID, lower end of the interval",
        "<=",
        0.0,
        _kid_over_base,
        2,
        "study",
        True,
    ),
    Bar("chance", "chance level, boxes redrawn, as a share of the arm's success", "<=", 0.5, _chance_ratio),
    Bar(
        "base",
        "chance level, base without boxes, as a share of the arm's success",
        "<=",
        0.5,
        _base_ratio,
        against_base=True,
    ),
    Bar("annotation_miou", "annotation, mean IoU to truth", ">=", 0.80, _data("annotation_miou")),
    Bar("annotation_recall", "annotation, recall", ">=", 0.90, _data("annotation_recall")),
    Bar("filter_precision", "filter, precision for spatial", ">=", 0.95, _data("filter_precision")),
    Bar("filter_recall", "filter, recall for spatial", ">=", 0.90, _data("filter_recall")),
    Bar("planner_validity", "planner, unconstrained validity", ">=", 0.95, _planner("validity_unconstrained")),
    Bar("planner_spatial", "planner, spatial accuracy", ">=", 0.90, _planner("spatial_accuracy")),
    Bar("gradients", "split against summed backward, relative Δg", "<=", 1e-5, _gradients, -1),
]

COST: list[CostBar] = [
    CostBar("wall_minutes", "the whole run", 25, "min", "demo"),
    CostBar("wall_minutes", "the whole run", 150, "min", "study"),
    CostBar("wall_minutes", "the whole run", 4, "min", "smoke"),
    CostBar("peak_gib", "the whole run, peak memory", 8, "GiB", None),
]

COLUMNS = [
    Column("name", "bar", left=True),
    Column("bar", "wanted"),
    Column("measured", "measured"),
    Column("met", "met", left=True),
]


def bars_table(results: Results) -> Table:
    """Every result bar of the tier with its measured value and yes or no."""
    rows, tier = [], results.config.run.tier
    chosen = best(results) if tier == "study" else ""  # whose bars no other tier has
    for bar in BARS:
        if bar.tier not in (None, tier) or (bar.against_base and results.base is None):
            continue
        value = bar.measure(results)
        sign = "≥" if bar.sense == ">=" else "≤"
        threshold = f"{bar.threshold:g}".replace("1e-05", "1.0e−5")
        rows.append(
            [
                text(bar.name.replace("best arm", f"best arm ({chosen})")),
                text(f"{sign} {threshold}"),
                bar.shown(value),
                text("yes" if bar.met(value) else "no"),
            ]
        )
    n = len(results.config.study.seeds_of(results.reference))
    plural = "s" if n > 1 else ""
    notes = [f"Means over {n} seed{plural} where seeds apply. A bar is met by the value, whatever its interval."]
    if tier == "study":
        notes.append("The best arm is that of the highest success on validation layouts, of all that train anything.")
    return Table("bars", f"The bars of the {tier} tier", COLUMNS, rows, notes)
