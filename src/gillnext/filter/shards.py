"""Reads caption shards in Wukong's form (`wukong_100m_{i}.csv`, header `url,caption`), or refuses them.

Polars reads what is written as RFC 4180 has it: quoted fields may hold commas, doubled quotes and line ends; a line
ends at a newline, or a carriage return and one. Of other quotes Polars would lose some, and join rows between them, in
silence: a shard that has one is refused, as is one that Polars cannot read, and the file is walked to the row and line
at fault. Rows are numbered from 0 without the header, lines from 1 with it.
"""

from __future__ import annotations

import codecs
import csv
import mmap
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import numpy as np
import polars as pl

from gillnext.filter.keyword import settle, sift
from gillnext.filter.lexicon import Lexicon
from gillnext.runtime import files
from gillnext.runtime.errors import UserError

COLUMNS = ("url", "caption")
_REMEDY = "fetch or write the shard again, or leave it out of --shards"
EMPTY = pl.any_horizontal(pl.col(column).is_null() for column in COLUMNS)  # an empty field, or none
MOST = 10_000_000  # rows of a shard that may pass
SLICE = 250_000  # rows at a time, of those with a term
BLOCK = 1 << 20  # bytes whose quotes are looked at at a time
_QUOTE, _COMMA, _RETURN, _NEWLINE = b'",\r\n'
_LINE_END = np.array([_NEWLINE], np.uint8)
_BEFORE = np.isin(np.arange(256), [_QUOTE, _COMMA, _NEWLINE])  # bytes that may stand before a quote that opens a field
_AFTER = _BEFORE | (np.arange(256) == _RETURN)  # and behind one that closes it
_QUOTED = re.compile(r'(?:^|(?<=,))"(?:[^"]|"")*"(?=,|\Z)')  # a field in quotes, of a row without its line's end


def pass_shard(path: Path | str, lexicon: Lexicon, out: Path) -> dict[str, int]:
    """Write the rows of a shard that the keyword pass lets through (row, url, caption), each pair of URL and caption
    once, to the Parquet file `out`; returns counts: rows, empty, no_keyword, repeated.

    What holds a term streams to disk and is read again `SLICE` rows at a time: of a row that passes 16 bytes are held.
    Raises `UserError` for a broken quote, a missing column or field, an encoding other than UTF-8, no rows, and more
    than `MOST` that hold a term.
    """
    path = Path(path)
    if not path.exists():
        raise UserError("no such shard", where=str(path), remedy=_REMEDY)
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        found = Path(folder) / "found"
        rows, hits = _sifted(path, lexicon, found)
        if hits > MOST:
            raise UserError(
                f"{hits:,} rows hold a word of place, more than {MOST:,}", where=str(path), remedy="cut it into several"
            )
        counts = _settled(pl.scan_parquet(found, glob=False), hits, lexicon, Path(folder))
        if counts.pop("short"):
            _refuse_short_rows(path, rows)
        parts = sorted(Path(folder).glob("*.parquet"))
        if len(parts) == 1:
            parts[0].replace(out)
        else:
            pl.scan_parquet(parts, glob=False).sink_parquet(out, engine="streaming", compression="lz4")
    kept = counts.pop("kept")
    return {"rows": rows, **counts, "no_keyword": rows - sum(counts.values()) - kept}


def _sifted(path: Path, lexicon: Lexicon, found: Path) -> tuple[int, int]:
    """Write the rows with a term or without a field to the Parquet file `found`; rows of the shard, and of `found`."""
    if not _as_rfc_4180(path):
        _explain(path, "a quote or a carriage return out of place")
    try:
        scan = pl.scan_csv(path, infer_schema=False, row_index_name="row", glob=False)
        rows = int(scan.select(pl.len()).collect(engine="streaming").item())
        # With every column: of a row's other fields Polars checks nothing where a scan selects some of them.
        sift(scan, lexicon, also=EMPTY).sink_parquet(found, engine="streaming", compression="lz4")
        hits = int(pl.scan_parquet(found, glob=False).select(pl.len()).collect().item())
    except pl.exceptions.PolarsError as error:
        _explain(path, str(error).splitlines()[0])
    if not rows:
        _explain(path, "no rows")
    return rows, hits


def _settled(found: pl.LazyFrame, hits: int, lexicon: Lexicon, folder: Path) -> dict[str, int]:
    """Write what passes of the rows found to Parquet files of `folder`, by number; returns counts.

    kept, repeated, empty (without URL or caption), short (of these, with a field of no character, or none).
    """
    counts, hashes = dict.fromkeys(("kept", "repeated", "empty", "short"), 0), []
    pair = pl.struct("url", "caption")
    for number, start in enumerate(range(0, max(hits, 1), SLICE)):
        table = found.slice(start, SLICE).select(pl.col("row").cast(pl.Int64), *COLUMNS).collect()
        whole = table.filter(~EMPTY & (pl.col("url").str.strip_chars() != ""))
        passed = settle(whole, lexicon)
        hashes.append(passed.select(pair.hash(1).alias("one"), pair.hash(2).alias("other")))
        passed.write_parquet(folder / f"{number:05d}.parquet", compression="lz4")
        counts["empty"] += table.height - whole.height
        counts["short"] += sum(table[column].null_count() for column in COLUMNS)
    first = _first_of_each(pl.concat(hashes))
    counts |= {"kept": int(first.sum()), "repeated": int((~first).sum())}
    for number, part in enumerate(hashes):
        here, first = first.head(part.height), first.slice(part.height)
        if not here.all():
            file = folder / f"{number:05d}.parquet"
            pl.read_parquet(file, glob=False).filter(here).write_parquet(file, compression="lz4")
    return counts


def _first_of_each(hashes: pl.DataFrame) -> pl.Series:
    """Which rows are the first with both their hashes (one, other); 128 bits stand for the text that they are of."""
    doubtful = hashes["one"].is_duplicated()
    if not doubtful.any():
        return ~doubtful
    first = hashes.filter(doubtful).select(pl.struct("one", "other").is_first_distinct()).to_series()
    return (~doubtful).scatter(doubtful.arg_true(), first)


def _as_rfc_4180(path: Path) -> bool:
    """Whether every quote and carriage return stands where it may.

    Counted from 0, an even quote opens a field or doubles the quote before it; an odd one closes the field or is
    doubled by the next. Outside quotes a carriage return stands before a newline or at the end.
    """
    if not path.stat().st_size:
        return True
    with open(path, "rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    returns, quotes = mapped.find(b"\r") >= 0, 0
    data = np.frombuffer(mapped, np.uint8)[3 * (mapped[:3] == codecs.BOM_UTF8) :]
    for start in range(0, len(data), BLOCK):
        window = data[max(start - 1, 0) : start + BLOCK + 1]  # with a byte on either side
        first, last = start == 0, start + BLOCK >= len(data)
        if first or last:
            window = np.concatenate([_LINE_END[:first], window, _LINE_END[:last]])
        around = pl.Series(window)
        here, after = around.slice(1, len(around) - 2), around.slice(2)
        quote = here == _QUOTE
        opening = around.head(len(here)).filter(quote).to_numpy()[quotes % 2 :: 2]
        closing = after.filter(quote).to_numpy()[1 - quotes % 2 :: 2]
        if not (_BEFORE[opening].all() and _AFTER[closing].all()):
            return False
        if returns and (stray := (here == _RETURN) & (after != _NEWLINE)).any():
            within = (quote.cast(pl.Int64).cum_sum() + quotes) % 2 == 1
            if not within.filter(stray).all():
                return False
        quotes += len(opening) + len(closing)
    return quotes % 2 == 0


def _explain(path: Path, otherwise: str) -> NoReturn:
    """Raise the error that says what is wrong with the file, and where."""
    header = _header(path)
    if missing := [c for c in COLUMNS if c not in header]:
        raise UserError(
            f"no column {', '.join(missing)} (the header has: {', '.join(header)})",
            where=f"{path}, line 1",
            remedy="the first line must be: url,caption",
        )
    _walk(path, len(header))
    raise UserError(f"cannot read the shard: {otherwise}", where=str(path), remedy=_REMEDY)


def _refuse_short_rows(path: Path, rows: int) -> None:
    """Raise at the first row with too few fields; `rows` is the number of the shard's rows.

    Polars reads `url` and `url,` alike, but refuses a third field. So no row is short if the file has as many commas
    outside quotes as its rows need, and Polars counts commas as fast as rows. If the numbers differ (because of short
    rows or of blank lines), or the columns are others, the file is walked row by row, which takes long.
    """
    width = len(_header(path))
    pieces = pl.scan_csv(path, separator="\x01", eol_char=",", has_header=False, infer_schema=False, glob=False)
    commas = pieces.select(pl.len()).collect(engine="streaming").item() - 1
    if width != len(COLUMNS) or commas != rows + 1:
        _walk(path, width)


def _header(path: Path) -> list[str]:
    """The names of the columns."""
    for _, text in _rows(path):
        return next(csv.reader([text]))
    raise UserError("the shard is empty", where=str(path), remedy=_REMEDY)


def _walk(path: Path, width: int) -> None:
    """Raise at the first row with other than `width` fields; blank lines are passed over."""
    for place, text in _rows(path):
        if text and (fields := 1 + _unquoted(text).count(",")) != width:
            raise UserError(
                f"{fields} fields instead of {width}",
                where=place,
                remedy="put fields with commas or newlines in quotes",
            )


def _rows(path: Path) -> Iterator[tuple[str, str]]:
    """(place, text) of the header and of every row; raises where a quote or a carriage return is out of place."""
    row, lines, quotes = -1, list[str](), 0
    place = f"{path}, line 1"
    for number, line in files.numbered_lines(path, "convert the shard to UTF-8, e.g. iconv -f GB18030 -t UTF-8"):
        if not lines:
            place = f"{path}, line {number}" if row < 0 else f"{path}, row {row} (line {number})"
        lines.append(line)
        quotes += line.count('"')
        if quotes % 2:  # one is open: the row goes on
            continue
        text = "".join(lines).removesuffix("\n").removesuffix("\r")
        _refuse_stray(text, place)
        if text or row >= 0:  # Polars passes over blank lines before the header
            yield place, text
            row += 1
        lines.clear()
    _refuse_stray("".join(lines), place)


def _refuse_stray(text: str, place: str) -> None:
    """Raise where a row, without its line's end, has a quote or a carriage return out of place."""
    rest = _unquoted(text)
    if '"' in rest:
        at_start = re.search('(?:^|,)"', rest)
        raise UserError(
            "broken quote: a field in quotes has one inside it, or none at its end"
            if at_start
            else "a quote within a field that has none around it",
            where=place,
            remedy='put the field in quotes, and write a quote inside it twice ("")',
        )
    if "\r" in rest:
        raise UserError(
            "a carriage return that ends no line",
            where=place,
            remedy="put the field in quotes; end lines with a newline, or a carriage return and a newline",
        )


def _unquoted(text: str) -> str:
    """A row without its fields in quotes."""
    return _QUOTED.sub("", text) if '"' in text else text
