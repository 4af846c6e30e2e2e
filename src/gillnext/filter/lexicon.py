"""The lexicon of the keyword pass: words of place, and longer words that contain one and mean something else."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from gillnext.runtime import files
from gillnext.runtime.errors import UserError

DEFAULT = Path(__file__).with_name("lexicon.txt")


@dataclass(frozen=True)
class Lexicon:
    """`terms` let a caption through; `traps` are words inside which a term does not count."""

    terms: tuple[str, ...]
    traps: tuple[str, ...]

    @functools.cached_property
    def overlaps(self) -> tuple[str, ...]:
        """The texts that two words make where they overlap, at least one of them a trap, and terms that hold a trap.

        Where none of them stands in a text, every trap lies apart from all terms but those inside it.
        """
        words = {*self.terms, *self.traps}
        pairs = {(a, b) for trap in self.traps for word in words for a, b in ((trap, word), (word, trap))}
        joined = {a + b[k:] for a, b in pairs for k in range(1, min(len(a), len(b))) if a.endswith(b[:k])}
        around = {term for term in self.terms for trap in self.traps if trap in term}
        return tuple(sorted(joined | around))


def lexicon_file(name: str) -> Path:
    """The lexicon that `filter.lexicon` names, or the package's own."""
    if name and not Path(name).is_file():
        raise UserError("no such lexicon", where=f"filter.lexicon: {name}", remedy=f"start from a copy of {DEFAULT}")
    return Path(name) if name else DEFAULT


def read_lexicon(path: Path = DEFAULT) -> Lexicon:
    """A lexicon file: one word a line under [terms] and [traps], # for comments; repeated words count once."""
    return _parse(path, tuple(line for _, line in files.numbered_lines(path, "save the lexicon as UTF-8")))


@functools.cache
def _parse(path: Path, lines: tuple[str, ...]) -> Lexicon:
    parts: dict[str, dict[str, None]] = {"terms": {}, "traps": {}}
    part: dict[str, None] | None = None
    for number, line in enumerate(lines, 1):
        word = line.removeprefix("\ufeff").split("#")[0].strip()
        if word.startswith("[") and word.endswith("]") and word[1:-1] in parts:
            part = parts[word[1:-1]]
        elif word:
            if part is None or word.startswith("["):
                raise UserError(
                    f"{word!r} stands in no part",
                    where=f"{path}, line {number}",
                    remedy="put words under [terms] or [traps]",
                )
            part[word] = None
    if not parts["terms"]:
        raise UserError("the lexicon has no terms", where=str(path), remedy="put words under [terms]")
    return Lexicon(tuple(parts["terms"]), tuple(parts["traps"]))
