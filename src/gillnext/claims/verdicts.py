"""The words that a claim can get, and what may be said in which tier."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Word(StrEnum):
    """A claim's verdict. The first two are printed with “in miniature” in the smoke and demo tiers."""

    REPRODUCED = "reproduced"
    CONTRADICTED = "contradicted"
    MEASURED = "measured"
    CONSTRUCTION = "by construction"
    NOT_SHOWN = "not shown"
    NOT_HERE = "not testable here"
    NOT_RUN = "not tested in this run"


def conjunction(parts: list[int], unmeasured: bool = False) -> Word:
    """The word of a claim of several parts, each +1 where it holds, −1 where it does not, 0 where nothing is decided.

    One that fails contradicts all. A claim that has a part which is not measured is reproduced by no others.
    """
    if min(parts) < 0:
        return Word.CONTRADICTED
    if 0 in parts:
        return Word.NOT_SHOWN
    return Word.MEASURED if unmeasured else Word.REPRODUCED


def lacking(wanted: dict[str, bool]) -> str:
    """Names what a rule needs and lacks; `wanted`: whether each need is met, by its name."""
    return "; ".join(words for words, there in wanted.items() if not there)


MINIATURE_TIERS = (
    "smoke", "demo", "scratch", "foundations", "seeds", "study", "photos", "foundations-photos", "smoke-emoji",
    "rehearsal",
)  # fmt: skip


def in_print(word: Word, tier: str) -> str:
    """The verdict as printed: what the miniature decides is decided in miniature only."""
    decided = word in (Word.REPRODUCED, Word.CONTRADICTED)
    return f"{word} in miniature" if decided and tier in MINIATURE_TIERS else str(word)


@dataclass(frozen=True)
class Number:
    """One number behind a verdict: its name in print, its metric, and a value for each seed (one where none apply)."""

    name: str
    metric: str
    values: tuple[float, ...]


@dataclass(frozen=True)
class Verdict:
    """A word, what was measured (formatted), the reason in a few words, and the numbers that it rests on."""

    word: Word
    measured: str = ""
    reason: str = ""
    numbers: tuple[Number, ...] = ()
