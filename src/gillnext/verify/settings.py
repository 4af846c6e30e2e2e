"""Where the settings of two runs differ."""

from __future__ import annotations

import dataclasses
from typing import Any

from gillnext.config.load import MOVED
from gillnext.config.model import Arm, Config

# Left out: the arms, which have a sentence each; which of them run; where a run comes from; and what arithmetic was
# asked for, as score files say what it was.
APART = ("study.arms.", "study.subset", "from_reference", "run.arithmetic")


def common_arms(mine: Config, theirs: Config) -> tuple[list[str], list[str]]:
    """Arms that both runs have with the same settings, but for how many seeds; and a note on each of the others."""
    ours, others = (
        {name: dataclasses.replace(arm, seeds=None) for name, arm in config.study.arms.items()}
        for config in (mine, theirs)
    )
    common = [name for name, arm in ours.items() if others.get(name) == arm]
    unlike = [f"arm {name}: in this run only" for name in ours if name not in others]
    unlike += [f"arm {name}: in the kept run only" for name in others if name not in ours]
    unlike += [f"arm {name}: other settings in the two runs" for name in ours if name in others and name not in common]
    return common, unlike


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested settings as dotted keys."""
    if not isinstance(value, dict):
        return {prefix: value}
    return {k: v for name, part in value.items() for k, v in flat(part, f"{prefix}.{name}".lstrip(".")).items()}


def defaults(mine: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """What a run that lacks a setting was made with, as one of before the setting was there: dotted key to value; of
    arms, those that both runs have.
    """
    found = dict.fromkeys(MOVED, "") | flat(dataclasses.asdict(Config()))
    arms = [run.get("study", {}).get("arms", {}) for run in (mine, theirs)]
    return found | flat({name: dataclasses.asdict(Arm()) for name in arms[0] if name in arms[1]}, "study.arms")


def other_keys(mine: dict[str, Any], theirs: dict[str, Any], apart: tuple[str, ...] = APART) -> list[str]:
    """`key: here, kept` of every setting that is not the same, but for those that `apart` begins."""
    known = defaults(mine, theirs)
    here, there = flat(mine), flat(theirs)
    keys = [key for key in here | there if not key.startswith(apart)]
    pairs = [(key, here.get(key, known.get(key)), there.get(key, known.get(key))) for key in keys]
    return [f"{key}: {one} here, {other} kept" for key, one, other in pairs if one != other]


def other_settings(mine: Config, theirs: Config) -> list[str]:
    """The same of two runs' settings."""
    return other_keys(dataclasses.asdict(mine), dataclasses.asdict(theirs))
