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


def _searches(words: tuple[str, ...]) -> list[pl.Expr]:
    """Does `caption` hold one of `words`? Of each part of them, by itself."""
    parts = [list(words[i : i + AT_ONCE]) for i in range(0, len(words), AT_ONCE)]
    return [pl.col("caption").str.contains_any(part).alias(str(i)) for i, part in enumerate(parts)]


def _holds(captions: pl.Series, words: tuple[str, ...]) -> pl.Series:
    """Which of `captions` hold one of `words`; the parts are searched for at the same time."""
    return pl.DataFrame({"caption": captions}).select(_searches(words)).select(pl.any_horizontal(pl.all())).to_series()


def sift(captions: pl.LazyFrame, lexicon: Lexicon, also: pl.Expr = NEVER) -> pl.LazyFrame:
    """The rows whose `caption` holds a term, be it inside a trap, and those for which `also` holds."""
    return captions.filter(pl.any_horizontal(_searches(lexicon.terms)) | also)


def settle(rows: pl.DataFrame, lexicon: Lexicon) -> pl.DataFrame:
    """Of rows whose `caption` holds a term those where one lies inside no trap."""
    if not lexicon.traps:
        return rows
    trapped = _holds(rows["caption"], lexicon.traps)
    captions = rows["caption"].filter(trapped)
    # Longest first: with `leftmost`, of the traps that begin at a place the first of the list is cut out.
    traps = sorted(lexicon.traps, key=len, reverse=True)
    rest = captions.str.replace_many(traps, [CUT], leftmost=True)
    outside = _holds(rest, lexicon.terms)
    if lexicon.overlaps:
        doubtful = _holds(captions, lexicon.overlaps).arg_true()
        outside = outside.scatter(doubtful, [has_term(text, lexicon) for text in captions.gather(doubtful)])
    return rows.filter((~trapped).scatter(trapped.arg_true(), outside))


def keyword_pass(captions: pl.Series, lexicon: Lexicon | None = None) -> pl.Series:
    """Boolean series: which `captions` hold a word of place (`has_term`, for all rows at once)."""
    lexicon = lexicon or read_lexicon()
    table = pl.DataFrame({"caption": captions.fill_null("")}).with_row_index("place")
    kept = settle(sift(table.lazy(), lexicon).collect(), lexicon)
    return table["place"].is_in(kept["place"].implode())
