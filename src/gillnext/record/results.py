"""Reads a run's record: scores and trainings, as `gillnext gather` wrote them.

results = Results("results/demo", config)
results.seeds("attn2", "success50")          # a number a seed
results.metric(DATA, "filter_precision")
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from gillnext.config.model import Config
from gillnext.runtime import files
from gillnext.runtime.errors import UserError
from gillnext.statistics import Estimate, estimate

RULES = "rules_"  # begins the names of what the second evaluator found
NOTHING_LEARNED = "nothing learned"  # what the protocol says of an evaluator of templates
# Of a release's data scores those by boxes that a person has drawn, and in how many images: it has no other truth.
BY_HAND, LABELLED = ("annotation_precision", "annotation_recall", "annotation_miou_all"), "annotation_labelled"
INSTRUMENTS = {
    "fid": "features", "kid": "features", "kid_se": "features", "cmmd": "image-text", "clip_score": "image-text",
    "kid_lite0": "efficientnet-lite0", "kid_lite0_se": "efficientnet-lite0",
}  # fmt: skip


class Scored(NamedTuple):
    """A set that was scored: an arm's pictures of a split, by training seed.

    "real" and "vae" are the ceilings' arms; what a run has once, the planner's and the data stages' scores, has none.
    """

    arm: str
    seed: int | None = None
    split: str = "test"

    def __str__(self) -> str:
        return "/".join(str(part) for part in self if part not in ("", None))

    def instrument(self, name: str) -> tuple[str, str]:
        """What a metric of this set was measured with, and the metric."""
        if name.startswith(RULES):
            return "second evaluator", name.removeprefix(RULES)
        return INSTRUMENTS.get(name, "evaluator" if self.arm else "truth"), name


class Pace(NamedTuple):
    """What a job's model did on GPUs: how many shared the items, and in how many seconds they did them."""

    devices: int
    items: int
    seconds: float

    @property
    def rate(self) -> float:
        """Items a second, of all devices together."""
        return self.items / self.seconds


PACES = {"filter": "filter_pace", "annotation": "annotation_pace"}  # stage -> the kind of part that holds it
REAL, VAE = Scored("real"), Scored("vae")
PLANNER, DATA = Scored("", None, "planner"), Scored("", None, "data")


class Value(NamedTuple):
    """A number of a set or a part of one, what it is a mean over, and its own interval where it has one."""

    value: float
    n: int | None
    low: float | None
    high: float | None

    @property
    def ends(self) -> tuple[float, ...]:
        """The two ends of the interval, or nothing."""
        return () if self.low is None or self.high is None else (self.low, self.high)


def made_in(stamp: dict[str, Any]) -> str:
    """The arithmetic that a stamp names; fast where it is from before there was another."""
    return stamp.get("arithmetic", "fast")


def made_on(stamp: dict[str, Any]) -> str:
    """Arithmetic, processor and C library that a stamp names, in a sentence."""
    machine = ", ".join(stamp[key] for key in ("processor", "libc") if key in stamp)
    return f"In {made_in(stamp)} arithmetic{f' on {machine}' if machine else ''}."


def there(path: Path, command: str = "gather") -> Path:
    """A file of a run's record; `UserError` where it is not there, with the command that makes it."""
    if not path.exists():
        raise UserError("not there", where=str(path), remedy=f"make it with `gillnext {command}`")
    return path


class Results:
    """The record in `root` (results/{tier}, or a kept run) of the arms and seeds of `config`; files are read once."""

    def __init__(self, root: Path | str, config: Config) -> None:
        self.root, self.config = Path(root), config

    @cached_property
    def scores(self) -> pl.DataFrame:
        """The table of scores."""
        return pl.read_parquet(there(self.root / "scores.parquet"))

    @cached_property
    def curves_table(self) -> pl.DataFrame:
        """The table of what changed over training."""
        return pl.read_parquet(there(self.root / "curves.parquet"))

    @cached_property
    def protocols(self) -> dict[str, Any]:
        return files.read_json(there(self.root / "protocols.json"))

    @cached_property
    def memory(self) -> dict[str, Any]:
        """What the memory stage measured."""
        return files.read_json(there(self.root / "memory.json", "memory"))

    # Numbers of whole sets

    @cached_property
    def _values(self) -> dict[Scored, dict[str, Value]]:
        found: dict[Scored, dict[str, Value]] = {}
        whole = self.scores.filter(pl.col("by") == "").select(
            "arm", "seed", "split", "instrument", "metric", "value", "n", "low", "high"
        )
        for arm, seed, split, instrument, metric, *value in whole.iter_rows():
            name = f"{RULES}{metric}" if instrument == "second evaluator" else metric
            found.setdefault(Scored(arm, seed, split), {})[name] = Value(*value)
        return found

    def metrics(self, of: Scored) -> dict[str, Value]:
        """All numbers of a whole set, but how large it is, in the order in which its file had them."""
        if of not in self._values:
            raise UserError(f"no scores of {of}", where=str(self.root / "scores.parquet"), remedy="gather them again")
        return {name: value for name, value in self._values[of].items() if name != "n"}

    def metric(self, of: Scored, name: str) -> float:
        """One metric of a set; raises `UserError` where the set or the metric is missing."""
        found = self.metrics(of)
        if name not in found:
            where, remedy = f"{self.root / 'scores.parquet'}: {of}", "score it again, then `gillnext gather`"
            raise UserError(f"metric {name!r} is missing", where=where, remedy=remedy)
        return found[name].value

    def has(self, of: Scored, name: str) -> bool:
        return name in self._values.get(of, {})

    def size(self, of: Scored) -> int:
        """How many images, captions or rows a set has."""
        self.metrics(of)
        return int(self._values[of]["n"].value)

    def protocol(self, of: Scored) -> dict[str, Any]:
        """How a set was scored."""
        made = self.protocols["made"][str(of)]
        return self.protocols["protocols"][made["protocol"]]

    @property
    def second_learns_nothing(self) -> bool:
        """Whether the second evaluator learns nothing, by the protocol of what was scored and not by the settings: a
        folder that they name may hold templates too.
        """
        return NOTHING_LEARNED in self.protocol(self.first()).get("rules", "")

    @property
    def base_limitation(self) -> str:
        """What the base's own card says that it cannot do; "" where it says nothing."""
        return self.protocols.get("base", {}).get("limitation", "")

    @property
    def stamps(self) -> list[dict[str, Any]]:
        """What every set's score file says of its making."""
        return [made["provenance"] for made in self.protocols["made"].values()]

    # Over seeds

    def scored(self, arm: str, split: str = "test") -> list[Scored]:
        """An arm's sets of a split, seed by seed, in the order of the config."""
        return [Scored(arm, seed, split) for seed in self.config.study.seeds_of(arm)]

    def first(self, split: str = "test") -> Scored:
        """The reference arm's set of a split at its first seed: what speaks for all of them, as of their layouts."""
        return self.scored(self.reference, split)[0]

    def seeds(self, arm: str, name: str, split: str = "test") -> list[float]:
        """A metric of an arm, seed by seed, in the order of the config; in the score file's unit: shares and IoU in
        [0, 1], CLIP score in [0, 100], CMMD times 1000, KID as its formula gives it.
        """
        return [self.metric(of, name) for of in self.scored(arm, split)]

    def over_seeds(self, arm: str, name: str, split: str = "test") -> Estimate:
        return estimate(self.seeds(arm, name, split))

    def both(self, first: str, second: str, name: str) -> tuple[list[float], list[float]]:
        """A metric of two arms at the seeds that both have, in the order of the first's."""
        seeds = self.common_seeds(first, second)
        one, two = ([self.metric(Scored(arm, seed), name) for seed in seeds] for arm in (first, second))
        return one, two

    def common_seeds(self, first: str, second: str) -> list[int]:
        """The training seeds that two arms share."""
        study = self.config.study
        return [seed for seed in study.seeds_of(first) if seed in study.seeds_of(second)]

    def seed_words(self, arms: Iterable[str] = ()) -> str:
        """How many seeds these arms (or all) have: "one seed", "3 seeds", "1, 3 or 5 seeds"."""
        counts = sorted({len(self.config.study.seeds_of(arm)) for arm in arms or self.config.study.arms})
        *others, last = map(str, counts)
        return "one seed" if counts == [1] else f"{', '.join(others)}{' or ' if others else ''}{last} seeds"

    # Parts of sets

    @cached_property
    def _parts(self) -> dict[Scored, pl.DataFrame]:
        parted = self.scores.filter(pl.col("by") != "").partition_by("arm", "seed", "split", as_dict=True)
        return {Scored(*key): frame for key, frame in parted.items()}

    def part(self, of: Scored, by: str) -> pl.DataFrame:
        """Rows (at, metric, value, n, low, high) of the parts of one kind; none where the set was not parted so."""
        found = self._parts[of].filter(pl.col("by") == by) if of in self._parts else self.scores.clear()
        return found.select("at", "metric", "value", "n", "low", "high")

    def per_image(self, of: Scored, name: str) -> np.ndarray:
        """(N,) a number an image; `UserError` where the set has none."""
        found = self.part(of, "image").filter(pl.col("metric") == name)
        if not found.height:
            raise UserError(f"no {name!r} by image of {of}", where=str(self.root / "scores.parquet"), remedy="score it")
        return found["value"].to_numpy()

    def groups(self, of: Scored, by: str, name: str) -> dict[str, Value]:
        """Part -> a metric's value in it; {} where the set was not parted so."""
        found = self.part(of, by).filter(pl.col("metric") == name)
        return {at: Value(*value) for at, _, *value in found.iter_rows()}

    def paces(self, stage: str) -> list[Pace]:
        """A pace a part of a data stage that ran on GPUs; none where it did not, or a resumed job had nothing to do."""
        found = (self.groups(DATA, PACES[stage], name) for name in Pace._fields)
        devices, items, seconds = ({part: value.value for part, value in of.items()} for of in found)
        return [Pace(int(devices[part]), int(items[part]), seconds[part]) for part in devices]

    # Over training

    def trained(self, arm: str, name: str) -> dict[int | None, float]:
        """Seed -> what its training of an arm says of its cost on GPUs (`step_seconds`, `gpu_bytes`), where it does."""
        return {of.seed: self.metric(of, name) for of in self.scored(arm, "training") if self.has(of, name)}

    @cached_property
    def _series(self) -> dict[tuple[str, int, str], pl.DataFrame]:
        return self.curves_table.partition_by("arm", "seed", "series", as_dict=True)  # type: ignore[return-value]

    def history(self, arm: str, seed: int, series: str) -> list[float]:
        """A number a step of the training of an arm and seed."""
        if (arm, seed, series) not in self._series:
            where = str(self.root / "curves.parquet")
            raise UserError(f"no {series} of {arm}, seed {seed}", where=where, remedy="train it again, then gather")
        return self._series[arm, seed, series]["value"].to_list()

    def histories(self, arm: str, series: str) -> list[list[float]]:
        """The same of every seed, in the order of the config."""
        return [self.history(arm, seed, series) for seed in self.config.study.seeds_of(arm)]

    def curves(self, arm: str) -> list[list[tuple[int, float]]]:
        """The box-following curve of every seed that has one: (step, success@0.5) of its points."""
        keys = [(arm, seed, "success50") for seed in self.config.study.seeds_of(arm)]
        found = [self._series[key] for key in keys if key in self._series]
        return [list(frame.select("step", "value").iter_rows()) for frame in found]

    # The arms

    @property
    def base(self) -> str | None:
        """The first arm that gets nothing of the boxes."""
        arms = self.config.study.arms.items()
        return next((name for name, arm in arms if arm.site == "none" and arm.boxes == "none"), None)

    @property
    def reference(self) -> str:
        return self.config.study.reference
