"""The keyword pass: does a caption hold a word of place that is not merely part of another word?

Polars' Aho–Corasick search goes over all captions as they stream; those with a term and a trap are searched again with
their traps cut out. That decides them but where two words overlap (a term that begins inside a trap and ends behind
it): such captions hold one of `Lexicon.overlaps`, are rare, and are looked at one by one.
"""

from __future__ import annotations

import re

import polars as pl

from gillnext.filter.lexicon import Lexicon, read_lexicon

NEVER = pl.lit(False)
CUT = "\n"  # stands for a trap that was cut out; no term holds it
AT_ONCE = 100  # words; of more, aho-corasick builds no DFA (its `build_auto`), and takes 2.6 times as long


def _spans(words: tuple[str, ...], text: str) -> list[tuple[int, int]]:
    """Every place where one of `words` stands in `text`, overlapping ones too, as (start, end)."""
    return [(m.start(), m.start() + len(w)) for w in words for m in re.finditer(f"(?={re.escape(w)})", text)]


def has_term(text: str, lexicon: Lexicon) -> bool:
    """Whether a term stands in `text` at a place that lies inside no trap."""
    traps = _spans(tuple(t for t in lexicon.traps if t in text), text)
    terms = _spans(tuple(t for t in lexicon.terms if t in text), text)
    return any(all(a < low or b > high for low, high in traps) for a, b in terms)


def _holds(words: tuple[str, ...]) -> pl.Expr:
    """Whether `caption` holds one of `words`."""
    parts = [list(words[i : i + AT_ONCE]) for i in range(0, len(words), AT_ONCE)]
    return pl.any_horizontal(pl.col("caption").str.contains_any(part) for part in parts)


def sift(captions: pl.LazyFrame, lexicon: Lexicon, also: pl.Expr = NEVER) -> pl.LazyFrame:
    """The rows whose `caption` holds a term, be it inside a trap, and those for which `also` holds."""
    return captions.filter(_holds(lexicon.terms) | also)


def settle(rows: pl.DataFrame, lexicon: Lexicon) -> pl.DataFrame:
    """Of rows whose `caption` holds a term those where one lies inside no trap."""
    if not lexicon.traps:
        return rows
    trapped = rows.select(_holds(lexicon.traps)).to_series()
    captions = rows["caption"].filter(trapped)
    # Longest first: with `leftmost`, of the traps that begin at a place the first of the list is cut out.
    traps = sorted(lexicon.traps, key=len, reverse=True)
    rest = captions.str.replace_many(traps, [CUT], leftmost=True)
    outside = rest.to_frame().select(_holds(lexicon.terms)).to_series()
    if lexicon.overlaps:
        doubtful = captions.str.contains_any(list(lexicon.overlaps)).arg_true()
        outside = outside.scatter(doubtful, [has_term(text, lexicon) for text in captions.gather(doubtful)])
    return rows.filter((~trapped).scatter(trapped.arg_true(), outside))


def keyword_pass(captions: pl.Series, lexicon: Lexicon | None = None) -> pl.Series:
    """Boolean series: which `captions` hold a word of place (`has_term`, for all rows at once)."""
    lexicon = lexicon or read_lexicon()
    table = pl.DataFrame({"caption": captions.fill_null("")}).with_row_index("place")
    kept = settle(sift(table.lazy(), lexicon).collect(), lexicon)
    return table["place"].is_in(kept["place"].implode())
