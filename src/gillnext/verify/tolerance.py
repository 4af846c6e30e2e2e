"""How far a number may lie from the kept one: the spread over seeds where it is known, and a numerical floor.

With m kept seeds and n new ones, the mean of the new ones lies within t(0.975, m − 1)·s·√(1/m + 1/n) of the kept mean
95 times in 100 if both are drawn alike. Of an arm kept with one seed, s is pooled over the other arms' seeds, with
their degrees of freedom. Where no seeds apply, a share p of k items may move by the 95% half width of the difference of
two such shares, 1.96·√(2p(1 − p)/k), which bounds any mean of values in [0, 1]; a value with a standard error by
1.96·√2 of it. The floor is the least tolerance: what another processor's rounding may move although nothing changed.
Floors are set, not measured."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gillnext.claims.verdicts import Number
from gillnext.tables.statistics import Spread, predicted, spread

NORMAL = 1.959964  # 0.975 quantile


@dataclass(frozen=True)
class Floor:
    """The least tolerance: `absolute`, and `relative` to the kept value."""

    absolute: float = 0.0
    relative: float = 0.0

    def at(self, value: float) -> float:
        return self.absolute + self.relative * abs(value)


SHARE = Floor(0.01)  # shares and IoUs, in [0, 1]: five of the demo's 500 test images
FLOORS: dict[str, Floor] = {
    "clip_score": Floor(0.2),  # of 100
    "fid": Floor(relative=0.02),
    "kid": Floor(5e-4, relative=0.05),
    "cmmd": Floor(relative=0.05),
    "ap": SHARE,  # no mean over items
    "ap50": SHARE,
    "gradient_norm": Floor(0.05),  # of a log10: a maximum over training, the least stable of all
    "position_net_norm": Floor(0.05),
    "gradient_difference": Floor(1e-5),  # float arithmetic, the tolerance of the claim itself
    "saved_bytes": Floor(relative=0.01),  # exact counts; kernels of another processor may keep other tensors
    "parameters": Floor(),  # exact
}


@dataclass(frozen=True)
class Comparison:
    """One number of this run beside the kept one's; `basis` says what the tolerance comes from: seeds, other arms'
    seeds, items, standard error or floor.
    """

    name: str
    value: float
    kept: float
    tolerance: float
    basis: str
    seeds: tuple[int, int]  # of this run, of the kept one

    @property
    def within(self) -> bool:
        # The last term lets a sum in another order pass where the tolerance is 0.
        return abs(self.value - self.kept) <= self.tolerance + 1e-12 * abs(self.kept)


def chance(mine: Number, kept: Number, others: Spread | None) -> tuple[float, str]:
    """(half width, what it comes from) of the numbers' chance variation; 0 where nothing is known of it.

    `others`: the spread of the same metric over the seeds of other arms, for an arm kept with one seed.
    """
    new, old = len(mine.values), len(kept.values)
    if (half := predicted(old, new, spread([kept.values]))) is not None:
        return half, "seeds"
    if kept.error:
        return NORMAL * math.sqrt(2) * kept.error, "standard error"
    share = kept.values[0]
    if kept.n and kept.metric not in FLOORS and 0 <= share <= 1:
        return NORMAL * math.sqrt(2 * share * (1 - share) / kept.n), "items"
    half = predicted(old, new, others) if others else None
    return (0.0, "floor") if half is None else (half, "other arms' seeds")


def compare(mine: Number, kept: Number, others: Spread | None = None) -> Comparison:
    """The means over seeds of two numbers of one name."""
    value, reference = (math.fsum(number.values) / len(number.values) for number in (mine, kept))
    half, basis = chance(mine, kept, others)
    floor = FLOORS.get(kept.metric, SHARE).at(reference)
    seeds = len(mine.values), len(kept.values)
    return Comparison(mine.name, value, reference, max(half, floor), basis if half > floor else "floor", seeds)
