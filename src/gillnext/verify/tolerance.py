"""How far a number may lie from the kept one: the spread over whole runs where it is known, and a numerical floor.

With n whole runs at hand, one run more lies within t(0.975, n − 1)·s·√(1 + 1/n) of their mean 95 times in 100 if all
are drawn alike (`gillnext.tables.runs`). Neither the seeds of one run nor the binomial error of its counts stand in for
it: every run trains its own data models, base and scorers, and these decide most numbers. With fewer than two runs
nothing is known, and a difference is reported and not judged. The floor is what passes unmentioned: a few pictures
in 500. Floors are set, not measured. Numbers that no training decides have a tolerance of their own (`FIXED`) and need
no runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from gillnext.claims.verdicts import Number
from gillnext.tables.runs import Runs


class Judged(StrEnum):
    """What is said of a number: the kept one within the floor; another that whole runs would have as well; one that
    they would not; another, and too few runs to judge it.
    """

    SAME = "same"
    WITHIN = "within"
    OUTSIDE = "outside"
    REPORTED = "reported"


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
    "gradient_norm": Floor(0.05),  # of a log10: a maximum over training, the least stable of all
    "position_net_norm": Floor(0.05),
}
FIXED: dict[str, Floor] = {
    "gradient_difference": Floor(1e-5),  # float arithmetic, the tolerance of the claim itself
    "saved_bytes": Floor(relative=0.01),  # exact counts; kernels of another processor may keep other tensors
    "parameters": Floor(),  # exact
}


FAR = 10  # floors


@dataclass(frozen=True)
class Comparison:
    """One number of this run beside the kept one's. It should lie within `half` of `centre`; both are None where
    nothing is known. `runs` is how many whole runs say so (0: none had to), `seeds` of this run and of the kept one.
    """

    name: str
    value: float
    kept: float
    judged: Judged
    centre: float | None
    half: float | None
    runs: int
    seeds: tuple[int, int]
    far: bool = False  # from the kept one, by more than `FAR` floors

    @property
    def ends(self) -> tuple[float, float] | None:
        """The interval that it should lie in."""
        if self.centre is None or self.half is None:
            return None
        return self.centre - self.half, self.centre + self.half


def near(value: float, other: float, half: float) -> bool:
    # The last term lets a sum in another order pass where nothing may differ.
    return abs(value - other) <= half + 1e-12 * abs(other)


def compare(mine: Number, kept: Number, runs: Runs, name: str, siblings: Sequence[str] = ()) -> Comparison:
    """The means over seeds of two numbers. `name`: the number's in the table of runs; `siblings`: those that spread
    as it does.
    """
    value, reference = (math.fsum(number.values) / len(number.values) for number in (mine, kept))
    seeds, n = (len(mine.values), len(kept.values)), len(runs.values(name))
    floor = FIXED.get(kept.metric, FLOORS.get(kept.metric, SHARE)).at(reference)
    same, far = near(value, reference, floor), not near(value, reference, FAR * floor)
    if kept.metric in FIXED:
        judged = Judged.SAME if same else Judged.OUTSIDE
        return Comparison(mine.name, value, reference, judged, reference, floor, 0, seeds, far)
    half = runs.half(name, siblings) if seeds[0] == seeds[1] else None  # a mean over fewer seeds spreads more
    if half is None:
        judged = Judged.SAME if same else Judged.REPORTED
        return Comparison(mine.name, value, reference, judged, None, None, n, seeds, far)
    centre, half = runs.mean(name), max(half, floor)
    judged = Judged.SAME if same else Judged.WITHIN if near(value, centre, half) else Judged.OUTSIDE
    return Comparison(mine.name, value, reference, judged, centre, half, n, seeds, far)
