"""The keyword pass: does a caption hold a word of place that is not merely part of another word?

Polars' Aho–Corasick search for a few signs, one of which every term holds, goes over all captions as they stream. Of
those with a sign one regular expression finds those with a term. They are searched again with the traps cut out: from
left to right, at each place the longest.
"""

from __future__ import annotations

import polars as pl

from gillnext.filter.lexicon import Lexicon, read_lexicon

NEVER = pl.lit(False)


def has_term(text: str, lexicon: Lexicon) -> bool:
    """Whether `text` holds a term when the traps are cut out."""
    if not any(sign in text for sign in lexicon.signs) or not lexicon.pattern.search(text):
        return False
    rest = lexicon.cuttable.sub(lambda word: lexicon.cuts[word[0]], text) if lexicon.cuts else text
    return lexicon.pattern.search(rest) is not None


def sift(captions: pl.LazyFrame, lexicon: Lexicon, also: pl.Expr = NEVER) -> pl.LazyFrame:
    """The rows whose `caption` holds a sign of some term, and those for which `also` holds."""
    return captions.filter(pl.col("caption").str.contains_any(lexicon.signs) | also)


def settle(rows: pl.DataFrame, lexicon: Lexicon) -> pl.DataFrame:
    """The rows whose `caption` holds a term when the traps are cut out."""
    term = lexicon.pattern.pattern
    rows = rows.filter(pl.col("caption").str.contains(term))
    if not lexicon.cuts:
        return rows
    trapped = rows["caption"].str.contains(lexicon.trap.pattern)
    words, instead = list(lexicon.cuts), list(lexicon.cuts.values())
    # Longest first: with `leftmost`, of the words that begin at a place the first of the list is replaced.
    rest = rows["caption"].filter(trapped).str.replace_many(words, instead, leftmost=True)
    return rows.filter((~trapped).scatter(trapped.arg_true(), rest.str.contains(term)))


def keyword_pass(captions: pl.Series, lexicon: Lexicon | None = None) -> pl.Series:
    """Boolean series: which `captions` hold a word of place (`has_term`, for all rows at once)."""
    lexicon = lexicon or read_lexicon()
    table = pl.DataFrame({"caption": captions.fill_null("")}).with_row_index("place")
    kept = settle(sift(table.lazy(), lexicon).collect(), lexicon)
    return table["place"].is_in(kept["place"].implode())
