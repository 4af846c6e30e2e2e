"""The keyword pass: does a caption hold a word of place that is not merely part of another word?

Polars' Aho–Corasick search goes over all captions; those with a term are searched again with their traps cut out. That
decides them but where two words overlap (a term that begins inside a trap and ends behind it): such captions hold one
of `Lexicon.overlaps`, are rare, and are looked at one by one. So a shard of any size goes through as it streams.
"""

from __future__ import annotations

import re

import polars as pl

from gillnext.filter.lexicon import Lexicon, read_lexicon

NEVER = pl.lit(False)
CUT = "\n"  # stands for a trap that was cut out; no term holds it


def _spans(words: tuple[str, ...], text: str) -> list[tuple[int, int]]:
    """Every place where one of `words` stands in `text`, overlapping ones too, as (start, end)."""
    return [(m.start(), m.start() + len(w)) for w in words for m in re.finditer(f"(?={re.escape(w)})", text)]


def has_term(text: str, lexicon: Lexicon) -> bool:
    """Whether a term stands in `text` at a place that lies inside no trap."""
    traps = _spans(tuple(t for t in lexicon.traps if t in text), text)
    terms = _spans(tuple(t for t in lexicon.terms if t in text), text)
    return any(all(a < low or b > high for low, high in traps) for a, b in terms)


def sift(captions: pl.LazyFrame, lexicon: Lexicon, also: pl.Expr = NEVER) -> pl.LazyFrame:
    """The rows whose `caption` may hold a term, with `doubtful`: whether `settle` has to look at the row.

    Rows for which `also` holds are let through as well, as doubtful ones.
    """
    caption, terms = pl.col("caption"), list(lexicon.terms)
    found = captions.filter(caption.str.contains_any(terms) | also)
    if not lexicon.traps:
        return found.with_columns(doubtful=also)
    # Longest first: with `leftmost`, of the traps that begin at a place the first of the list is cut out.
    traps = sorted(lexicon.traps, key=len, reverse=True)
    outside = caption.str.replace_many(traps, [CUT], leftmost=True).str.contains_any(terms)
    overlaps = caption.str.contains_any(list(lexicon.overlaps)) if lexicon.overlaps else pl.lit(False)
    return found.with_columns(doubtful=overlaps | also).filter(pl.col("doubtful") | outside)


def settle(rows: pl.DataFrame, lexicon: Lexicon) -> pl.DataFrame:
    """What `sift` let through without the doubtful rows that hold no term after all."""
    wrong = [i for i in rows["doubtful"].arg_true() if not has_term(rows["caption"][i], lexicon)]
    kept = rows.drop("doubtful")
    return kept.with_row_index("at").filter(~pl.col("at").is_in(wrong)).drop("at") if wrong else kept


def keyword_pass(captions: pl.Series, lexicon: Lexicon | None = None) -> pl.Series:
    """Boolean series: which `captions` hold a word of place (`has_term`, for all rows at once)."""
    lexicon = lexicon or read_lexicon()
    table = pl.DataFrame({"caption": captions.fill_null("")}).with_row_index("place")
    kept = settle(sift(table.lazy(), lexicon).collect(), lexicon)
    return table["place"].is_in(kept["place"].implode())
