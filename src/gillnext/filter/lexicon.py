"""The lexicon of the keyword pass: words of place, and words that look like one and mean something else."""

from __future__ import annotations

import functools
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gillnext.language.words import alternation
from gillnext.runtime import files
from gillnext.runtime.errors import UserError

DEFAULT = Path(__file__).with_name("lexicon.txt")
AT_ONCE = 100  # words; of more, aho-corasick builds no DFA (its `build_auto`), and takes 2.6 times as long
CUT = "\n"  # stands for a trap that was cut out; no term holds it


@dataclass(frozen=True)
class Lexicon:
    """`terms` let a caption through; `traps` are cut out of it before, unless they stand inside a longer term.

    Both have every spelling; `variants`: a simplified character -> itself and what may stand for it.
    """

    terms: tuple[str, ...]
    traps: tuple[str, ...]
    variants: Mapping[str, str] = field(default_factory=dict)

    @functools.cached_property
    def pattern(self) -> re.Pattern[str]:
        """Finds a term."""
        return re.compile(alternation(self.terms))

    @functools.cached_property
    def trap(self) -> re.Pattern[str]:
        """Finds a trap."""
        return re.compile(alternation(self.traps))

    @functools.cached_property
    def signs(self) -> list[str]:
        """Up to AT_ONCE texts one of which every term holds: characters that many terms share, then the terms left."""
        left, found = list(self.terms), list[str]()
        while len(found) + len(left) > AT_ONCE:
            ((character, _),) = Counter(c for term in left for c in dict.fromkeys(term)).most_common(1)
            found.append(character)
            left = [term for term in left if character not in term]
        return found + left

    @functools.cached_property
    def cuts(self) -> dict[str, str]:
        """Word and what replaces it, the longest first: traps by CUT, terms that hold a trap by themselves."""
        around = {term: term for term in self.terms if any(trap in term for trap in self.traps)}
        words = around | dict.fromkeys(self.traps, CUT)
        return {word: words[word] for word in sorted(words, key=len, reverse=True)}

    @functools.cached_property
    def cuttable(self) -> re.Pattern[str]:
        """Finds a word of `cuts`."""
        return re.compile(alternation(self.cuts))


def lexicon_file(name: str) -> Path:
    """The lexicon that `filter.lexicon` names, or the package's own."""
    if name and not Path(name).is_file():
        raise UserError("no such lexicon", where=f"filter.lexicon: {name}", remedy=f"start from a copy of {DEFAULT}")
    return Path(name) if name else DEFAULT


def read_lexicon(path: Path = DEFAULT) -> Lexicon:
    """A lexicon file: words under [terms], [traps] and [variants], # for comments (`lexicon.txt` tells the rest)."""
    return _parse(path, tuple(line for _, line in files.numbered_lines(path, "save the lexicon as UTF-8")))


@functools.cache
def _parse(path: Path, lines: tuple[str, ...]) -> Lexicon:
    parts: dict[str, list[str]] = {"terms": [], "traps": [], "variants": []}
    part: list[str] | None = None
    for number, line in enumerate(lines, 1):
        text = line.split("#")[0].strip()
        if text.startswith("[") and text.endswith("]") and text[1:-1] in parts:
            part = parts[text[1:-1]]
        elif text:
            if part is None or text.startswith("["):
                raise UserError(
                    f"{text!r} stands in no part",
                    where=f"{path}, line {number}",
                    remedy="put words under [terms], [traps] or [variants]",
                )
            part += _words(text)
    if not parts["terms"]:
        raise UserError("the lexicon has no terms", where=str(path), remedy="put words under [terms]")
    variants = {word[0]: word for word in parts["variants"]}
    return Lexicon(_spellings(parts["terms"], variants), _spellings(parts["traps"], variants), variants)


def _words(line: str) -> list[str]:
    """The words of a line; of `a b : c d` ac, ad, bc and bd."""
    return ["".join(pieces) for pieces in itertools.product(*(part.split() for part in line.split(":")))]


def _spellings(words: Iterable[str], variants: Mapping[str, str]) -> tuple[str, ...]:
    """Every word once, with each of its characters replaced by each of its variants."""
    spelled = (itertools.product(*(variants.get(character, character) for character in word)) for word in words)
    return tuple(dict.fromkeys("".join(pieces) for word in spelled for pieces in word))
