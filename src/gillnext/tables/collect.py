"""Reads the score files of a results folder; what is missing is an error that names what makes it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from gillnext.config.model import Config
from gillnext.runtime import files
from gillnext.runtime.errors import UserError
from gillnext.statistics import Estimate, estimate


def made_in(score: dict[str, Any]) -> str:
    """The arithmetic that a score file names; fast where it is from before there was another."""
    return score.get("provenance", {}).get("arithmetic", "fast")


def told_by(score: dict[str, Any]) -> str:
    """Arithmetic, processor and C library that a score file names, in a sentence."""
    stamp = score.get("provenance", {})
    machine = ", ".join(stamp[key] for key in ("processor", "libc") if key in stamp)
    return f"In {made_in(score)} arithmetic{f' on {machine}' if machine else ''}."


class Results:
    """The score files under `root` (results/{tier}) for the arms and seeds of `config`; files are read
    once.
    """

    def __init__(self, root: Path, config: Config) -> None:
        self.root, self.config = Path(root), config
        self._read: dict[Path, Any] = {}

    def read(self, relative: str, command: str) -> Any:
        """The JSON value in `root/relative`; `command` is told to whoever lacks it."""
        path = self.root / relative
        if path not in self._read:
            if not path.exists():
                raise UserError("no such score file", where=str(path), remedy=f"make it with `gillnext {command}`")
            self._read[path] = files.read_json(path)
        return self._read[path]

    def metric(self, relative: str, command: str, name: str) -> float:
        """One metric of one score file; raises `UserError` where the file or the metric is missing."""
        metrics = self.read(relative, command).get("metrics", {})
        if name not in metrics:
            raise UserError(
                f"metric {name!r} is missing",
                where=str(self.root / relative),
                remedy=f"make the file again with `gillnext {command}`",
            )
        return float(metrics[name])

    def has(self, relative: str) -> bool:
        return (self.root / relative).exists()

    # The places of the score files

    def score(self, arm: str, seed: int, kind: str = "") -> tuple[str, str]:
        """(file, command) of an arm's scores; `kind` "relations" gives the end-to-end ones."""
        folder = f"scores/{kind}/" if kind else "scores/"
        samples = f"{self.root}/samples/{arm}/{seed}/{kind or 'test'}"
        return f"{folder}{arm}/{seed}.json", f"score --samples {samples}"

    ceilings: ClassVar[dict[str, tuple[str, str]]] = {
        "real": ("scores/ceilings/real.json", "ceilings"),
        "vae": ("scores/ceilings/vae.json", "ceilings"),
    }
    planner = ("plans/planner.json", "plan")
    data = ("scores/data.json", "quality")
    memory = ("memory.json", "memory")

    # Estimates

    def seeds(self, arm: str, name: str, kind: str = "") -> list[float]:
        """A metric of an arm, seed by seed, in the order of the config; in the score file's unit: shares and IoU in
        [0, 1], CLIP score in [0, 100], CMMD times 1000, KID as its formula gives it.
        """
        return [self.metric(*self.score(arm, seed, kind), name) for seed in self.config.study.seeds_of(arm)]

    def over_seeds(self, arm: str, name: str, kind: str = "") -> Estimate:
        return estimate(self.seeds(arm, name, kind))

    def size(self, relative: str, command: str) -> int:
        """n of a score file: images, captions or rows."""
        score = self.read(relative, command)
        if "n" not in score:
            raise UserError("n is missing", where=str(self.root / relative), remedy=f"`gillnext {command}`")
        return int(score["n"])

    def protocol(self, relative: str, command: str) -> dict[str, Any]:
        return dict(self.read(relative, command).get("protocol", {}))

    def both(self, first: str, second: str, name: str) -> tuple[list[float], list[float]]:
        """A metric of two arms at the seeds that both have, in the order of the first's."""
        seeds = self.common_seeds(first, second)
        one, two = ([self.metric(*self.score(arm, seed), name) for seed in seeds] for arm in (first, second))
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

    def curves(self, arm: str) -> list[Any]:
        """The box-following curve of every seed that has one, in the order of the config."""
        seeds = self.config.study.seeds_of(arm)
        found = [self.read(f"curves/{arm}/{s}/curve.json", f"curve --arm {arm} --seed {s}") for s in seeds]
        return [curve for curve in found if curve]

    def history(self, arm: str, seed: int, file: str) -> Any:
        """What the training of an arm and seed wrote to `file`, a list over its steps."""
        return self.read(f"adapters/{arm}/{seed}/{file}", f"adapter --arm {arm} --seed {seed}")

    def histories(self, arm: str, file: str) -> list[Any]:
        """The same of every seed, in the order of the config."""
        return [self.history(arm, seed, file) for seed in self.config.study.seeds_of(arm)]

    # The arms

    @property
    def base(self) -> str | None:
        """The first arm that gets nothing of the boxes."""
        arms = self.config.study.arms.items()
        return next((name for name, arm in arms if arm.site == "none" and arm.boxes == "none"), None)

    @property
    def reference(self) -> str:
        return self.config.study.reference
