"""The bars that a run is measured against: names, thresholds and where the measured value comes from.

No measured value stands here. Bars on time and memory are in `COST`; they go to the cost tables.

A bar is met or missed where the 95% interval of the measured value lies on one side of the threshold, and undecided
where it holds it. The interval is t(0.975, n − 1)·s about the value, with s over the n whole runs of the tier at hand
(`gillnext.tables.runs`): how far the mean over such runs may lie from one of them. Without two runs it is the t
interval over the seeds of this one, which have one base in common. A number that a run has once, without whole runs, is
held against the bar as it is: the binomial error of its counts is no measure of what another run would have.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from gillnext.record.results import DATA, PLANNER, REAL, Results, Scored
from gillnext.runtime.errors import UserError
from gillnext.statistics import Estimate, estimate, paired, quantile
from gillnext.tables.runs import Runs
from gillnext.tables.table import Cell, Column, Table, number, scientific, text

Sense = Literal[">=", "<="]
EXACT = 6  # digits at most


@dataclass(frozen=True)
class Bar:
    """`sense` and `threshold` are the bar; `measure` reads the value, with its interval over seeds if it has one;
    `digits` prints it (-1: as a power of ten).

    Without `tiers` it holds in every tier; a bar `against_base` in runs with the base, one of `release` for a release
    too and not for the drawn world alone; one `of_best` is on the best arm, whose name is printed. `apart` says why it
    has no interval: what it measures is no draw, or already the end of one.
    """

    key: str
    name: str
    sense: Sense
    threshold: float
    measure: Callable[[Results], Estimate]
    digits: int = 3
    tiers: tuple[str, ...] = ()
    against_base: bool = False
    release: bool = False
    of_best: bool = False
    apart: str = ""

    @property
    def wanted(self) -> str:
        threshold = f"{self.threshold:g}".replace("1e-05", "1.0e−5")
        return f"{'≥' if self.sense == '>=' else '≤'} {threshold}"

    def met(self, value: float) -> bool:
        return value >= self.threshold if self.sense == ">=" else value <= self.threshold

    def verdict(self, value: Estimate) -> str:
        """yes, no, or undecided where the two ends of the interval lie on different sides."""
        ends = {self.met(value.mean)} if value.half is None else {self.met(value.low), self.met(value.high)}
        return "undecided" if len(ends) > 1 else "yes" if True in ends else "no"

    def shown(self, value: Estimate) -> Cell:
        """The value as printed, with as many more digits as it takes to stand on its side of the threshold, and half of
        its interval.
        """
        if self.digits < 0:
            return scientific(value.mean)
        near = (d for d in range(self.digits, EXACT) if self.met(round(value.mean, d)) == self.met(value.mean))
        return number(value, next(near, EXACT))


@dataclass(frozen=True)
class CostBar:
    """A bar on a total of the cost table; `tier` and `arithmetic` None hold in each."""

    key: str
    name: str
    threshold: float
    unit: str
    tier: str | None
    arithmetic: str | None = None


def _once(value: float) -> Estimate:
    return Estimate(value, None, 1)


def _of(scored: Scored, name: str) -> Callable[[Results], Estimate]:
    return lambda r: _once(r.metric(scored, name))


def _reference(name: str) -> Callable[[Results], Estimate]:
    return lambda r: r.over_seeds(r.reference, name)


def best(r: Results) -> str:
    """The trained arm with the highest success on validation layouts at the end of its training, mean over seeds: of
    those with as many seeds as the reference arm's, or of all; the reference arm where none was validated.
    """
    curves = {arm: r.curves(arm) for arm in r.config.study.trained}
    most = min(len(r.config.study.seeds_of(r.reference)), len(r.config.study.seeds))
    whole = {arm: found for arm, found in curves.items() if len(found) >= most} or curves
    ends = {arm: statistics.fmean(c[-1][1] for c in found) for arm, found in whole.items() if found}
    return max(ends, key=ends.__getitem__, default=r.reference)


def _base(name: str) -> Callable[[Results], Estimate]:
    return lambda r: r.over_seeds(str(r.base), name)


def _best(name: str) -> Callable[[Results], Estimate]:
    return lambda r: r.over_seeds(best(r), name)


def _over_base(name: str) -> Callable[[Results], Estimate]:
    """The best arm's metric less the base's, paired by seed."""
    return lambda r: paired(*r.both(best(r), str(r.base), name))


def _kid_over_base(r: Results) -> Estimate:
    """The lower end of the difference's interval, or the difference where it has none."""
    over = _over_base("kid")(r)
    return _once(over.mean if over.half is None else over.low)


def _images(r: Results) -> Estimate:
    return _once(min(map(r.size, r.scored(r.reference))))


def _ratio(levels: Sequence[float], successes: Sequence[float], level: float, success: float) -> Estimate:
    """level / success, with the interval of the ratios seed by seed."""
    by_seed = estimate([a / max(b, 1e-9) for a, b in zip(levels, successes, strict=True)])
    return Estimate(level / max(success, 1e-9), by_seed.half, by_seed.n)


def _chance_ratio(r: Results) -> Estimate:
    levels, successes = (r.seeds(r.reference, name) for name in ("chance_success50", "success50"))
    return _ratio(levels, successes, estimate(levels).mean, estimate(successes).mean)


def _base_ratio(r: Results) -> Estimate:
    success, level = (r.over_seeds(arm, "success50").mean for arm in (r.reference, str(r.base)))
    successes, levels = r.both(r.reference, str(r.base), "success50")
    return _ratio(levels, successes, level, success)


def _gradients(r: Results) -> Estimate:
    differences = r.memory.get("max_gradient_difference", {})
    if "split" not in differences:
        where = str(r.root / "memory.json")
        raise UserError("max_gradient_difference.split is missing", where=where, remedy="run `gillnext memory` again")
    return _once(float(differences["split"]))


ON_KEPT = ("demo", "seeds", "study")  # tiers that begin from the kept base

BARS: list[Bar] = [
    Bar("ceiling_success50", "evaluator on real scenes, success@0.5", ">=", 0.98, _of(REAL, "success50")),
    Bar("ceiling_miou", "evaluator on real scenes, mIoU", ">=", 0.90, _of(REAL, "miou")),
    Bar("test_images", "test images of the reference arm, each seed", ">=", 500, _images, 0, apart="exact"),
    Bar("reference_success50", "reference arm, success@0.5", ">=", 0.85, _reference("success50")),
    Bar("reference_miou", "reference arm, mIoU", ">=", 0.68, _reference("miou")),
    Bar("best_success50", "best arm, success@0.5", ">=", 0.95, _best("success50"), tiers=ON_KEPT, of_best=True),
    Bar("best_miou", "best arm, mIoU", ">=", 0.75, _best("miou"), tiers=ON_KEPT, of_best=True),
    Bar("best_rules", "best arm, success@0.5 by the second evaluator", ">=", 0.65, _best("rules_success50"),
        tiers=ON_KEPT, of_best=True),
    Bar("best_clip", "best arm over the base, CLIP score", ">=", 0.0, _over_base("clip_score"), 2, ("study",), True,
        of_best=True),
    Bar("best_kid", "best arm over the base, KID, lower end of the interval", "<=", 0.0, _kid_over_base, 2, ("study",),
        True, of_best=True, apart="interval's end"),
    Bar("base_shown", "base without boxes, objects of captions that it shows", ">=", 0.85, _base("shown"),
        tiers=ON_KEPT, against_base=True),
    Bar("chance", "chance level, boxes redrawn, as a share of the arm's success", "<=", 0.5, _chance_ratio,
        release=True),
    Bar("base", "chance level, base without boxes, as a share of the arm's success", "<=", 0.5, _base_ratio,
        against_base=True, release=True),
    Bar("annotation_miou", "annotation, mean IoU to truth", ">=", 0.80, _of(DATA, "annotation_miou")),
    Bar("annotation_recall", "annotation, recall", ">=", 0.90, _of(DATA, "annotation_recall")),
    Bar("filter_precision", "filter, precision for spatial", ">=", 0.95, _of(DATA, "filter_precision")),
    Bar("filter_recall", "filter, recall for spatial", ">=", 0.90, _of(DATA, "filter_recall")),
    Bar("planner_validity", "planner, unconstrained validity", ">=", 0.95, _of(PLANNER, "validity_unconstrained")),
    Bar("planner_spatial", "planner, spatial accuracy", ">=", 0.90, _of(PLANNER, "spatial_accuracy")),
    Bar("gradients", "split against summed backward, relative Δg", "<=", 1e-5, _gradients, -1, release=True,
        apart="exact"),
]  # fmt: skip

COST: list[CostBar] = [
    CostBar("wall_minutes", "the whole run, time in which any job ran", 15, "min", "demo"),
    CostBar("wall_minutes", "the whole run, time in which any job ran", 30, "min", "scratch", "portable"),
    CostBar("wall_minutes", "the whole run, time in which any job ran", 25, "min", "scratch", "fast"),
    CostBar("wall_minutes", "the whole run, time in which any job ran", 150, "min", "study"),
    CostBar("wall_minutes", "the whole run, time in which any job ran", 4, "min", "smoke"),
    CostBar("peak_gib", "the whole run, peak memory", 8, "GiB", None),
]

NAME, WANTED, MET = Column("name", "bar", left=True), Column("bar", "wanted"), Column("met", "met", left=True)


def of_tier(results: Results) -> list[Bar]:
    """The bars that hold for a run."""
    tier, base, release = results.config.run.tier, results.base, bool(results.config.world.release)
    held = [bar for bar in BARS if bar.release or not release]
    return [bar for bar in held if (not bar.tiers or tier in bar.tiers) and (base is not None or not bar.against_base)]


def in_table(bar: Bar) -> str:
    """A bar's name in the table of whole runs."""
    return f"bar: {bar.key}"


def measured(bar: Bar, results: Results, runs: Runs) -> tuple[Estimate, str]:
    """The value with the interval that decides, and what that comes from."""
    value = bar.measure(results)
    if bar.apart:
        return value, bar.apart
    if known := runs.spread(in_table(bar)):
        n = known.freedom + 1
        return Estimate(value.mean, quantile(known.freedom) * known.deviation, n), f"{n} whole runs"
    return value, f"{value.n} seeds, one base" if value.half is not None else "this run alone"


def bars_table(results: Results, runs: Runs | None = None) -> Table:
    """Every result bar of the tier with its measured value, interval, and yes, no or undecided."""
    tier = results.config.run.tier
    held = of_tier(results)
    chosen = best(results) if any(bar.of_best for bar in held) else ""
    found = {bar.key: measured(bar, results, runs or Runs({})) for bar in held}
    columns = {
        NAME: lambda bar: text(bar.name.replace("best arm", f"best arm ({chosen})")),
        WANTED: lambda bar: text(bar.wanted),
        Column("measured", "measured", interval=True): lambda bar: bar.shown(found[bar.key][0]),
        Column("basis", "interval of", left=True): lambda bar: text(found[bar.key][1]),
        MET: lambda bar: text(bar.verdict(found[bar.key][0])),
    }
    n = len(results.config.study.seeds_of(results.reference))
    seeds = f"Means over {n} seed{'s' if n > 1 else ''} where seeds apply."
    notes = [f"{seeds} Undecided: the interval, over whole runs where two are at hand, else over seeds, holds the bar."]
    if chosen:
        notes.append("The best arm is that of the highest success on validation layouts, of all that train anything.")
    return Table.of("bars", f"The bars of the {tier} tier", held, columns, *notes)
