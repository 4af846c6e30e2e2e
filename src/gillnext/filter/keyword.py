"""The keyword pass: does a caption hold a word of place that is not merely part of another word?

Polars' Aho–Corasick search goes over all captions; only the few that hold a term and a trap are looked at one by one.
"""

from __future__ import annotations

import re

import polars as pl

from gillnext.filter.lexicon import Lexicon, read_lexicon


def _spans(words: tuple[str, ...], text: str) -> list[tuple[int, int]]:
    """Every place where one of `words` stands in `text`, overlapping ones too, as (start, end)."""
    return [(m.start(), m.start() + len(w)) for w in words for m in re.finditer(f"(?={re.escape(w)})", text)]


def has_term(text: str, lexicon: Lexicon) -> bool:
    """Whether a term stands in `text` at a place that lies inside no trap."""
    traps = _spans(tuple(t for t in lexicon.traps if t in text), text)
    terms = _spans(tuple(t for t in lexicon.terms if t in text), text)
    return any(all(a < low or b > high for low, high in traps) for a, b in terms)


def keyword_pass(captions: pl.Series, lexicon: Lexicon | None = None) -> pl.Series:
    """Boolean series: which `captions` hold a word of place (`has_term`, for all rows at once)."""
    lexicon = lexicon or read_lexicon()
    captions = captions.fill_null("")
    found = captions.str.contains_any(list(lexicon.terms))
    if not lexicon.traps:
        return found
    doubtful = found & captions.str.contains_any(list(lexicon.traps))
    rows = doubtful.arg_true()
    checked = pl.Series([has_term(t, lexicon) for t in captions.gather(rows)], dtype=pl.Boolean)
    return found.scatter(rows, checked) if len(rows) else found
