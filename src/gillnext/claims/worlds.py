"""The same claims in another world: by a kept run whose pictures show other objects.

What one drawn world decides may be an accident of its drawings. Each claim that a miniature can decide is judged by
the same rule on a kept run of the other world, drawn or of cut-out photographs, and the two words stand side by side.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from gillnext.claims.verdicts import Verdict, Word
from gillnext.config import Config
from gillnext.config.load import settings_of
from gillnext.record.results import Results
from gillnext.runtime.errors import UserError

DECIDED = (Word.REPRODUCED, Word.CONTRADICTED)


class Other(NamedTuple):
    """A kept run of another world: what its world is called, and its record."""

    world: str
    results: Results


def world_of(config: Config) -> str:
    """What a run's pictures show, in a word for print."""
    return "drawings" if config.world.drawn else "photographs"


def read(folder: Path, config: Config) -> Other:
    """The kept run in `folder`, beside a run of `config`; `UserError` where both are of one world."""
    theirs = settings_of(folder)
    if theirs.world.release or world_of(theirs) == world_of(config):
        raise UserError("is no run of another world", where=str(folder), remedy="name a kept run of the other world")
    return Other(world_of(theirs), Results(folder, theirs))


def agreement(own: Verdict, other: Verdict) -> str:
    """What two worlds say together of a claim."""
    decided = [verdict.word for verdict in (own, other) if verdict.word in DECIDED]
    if not decided:
        return "decided in neither world"
    if len(decided) == 1:
        return f"{decided[0]} in one world"
    return f"{decided[0]} in both worlds" if decided[0] == decided[1] else "the worlds disagree"


def second(own: Verdict, other: Verdict, world: str) -> dict[str, str]:
    """The other world's verdict as a record, with what both say together."""
    found = {"where": f"among {world}", "measured": other.measured, "verdict": f"{other.word} among {world}"}
    return found | {"word": str(other.word), "reason": other.reason, "together": agreement(own, other)}
