"""Reads caption shards in Wukong's form (`wukong_100m_{i}.csv`, header `url,caption`), or refuses them.

Polars reads; where it cannot, Python's csv module walks the file to the row and line at fault. Quoted fields may hold
commas, doubled quotes and newlines. Rows are numbered from 0 without the header, lines from 1 with it.
"""

from __future__ import annotations

import csv
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

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
_QUOTED = re.compile(r'(?:^|(?<=,))"(?:[^"]|"")*"(?=,|$)')  # a field in quotes, of a row without its line's end


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


def _explain(path: Path, otherwise: str) -> NoReturn:
    """Raise the error that says what is wrong with the file, and where."""
    lines = sum(1 for _ in files.numbered_lines(path, "convert the shard to UTF-8, e.g. iconv -f GB18030 -t UTF-8"))
    if not lines:
        raise UserError("the shard is empty", where=str(path), remedy=_REMEDY)
    header = _header(path)
    if missing := [c for c in COLUMNS if c not in header]:
        raise UserError(
            f"no column {', '.join(missing)} (the header has: {', '.join(header)})",
            where=f"{path}, line 1",
            remedy="the first line must be: url,caption",
        )
    if lines == 1:
        raise UserError("the shard has a header and no rows", where=str(path), remedy=_REMEDY)
    _walk(path, len(header))
    raise UserError(f"cannot read the shard: {otherwise}", where=str(path), remedy=_REMEDY)


def _refuse_short_rows(path: Path, rows: int) -> None:
    """Raise at the first row with too few fields, of a shard with this many rows.

    Polars reads `url` and `url,` alike, but refuses a third field: no row is short where there are as many commas
    outside quotes as whole rows have, which Polars counts as fast as it counts rows. Where they do not add up (short
    rows, but also blank lines and quotes within a field), and of other columns, the file is walked, which takes long.
    """
    width = len(_header(path))
    pieces = pl.scan_csv(path, separator="\x01", eol_char=",", has_header=False, infer_schema=False, glob=False)
    commas = pieces.select(pl.len()).collect(engine="streaming").item() - 1
    if width != len(COLUMNS) or commas != rows + 1:
        _walk(path, width)


def _header(path: Path) -> list[str]:
    """The names of the columns."""
    with open(path, encoding="utf-8-sig", newline="") as text:
        try:
            return next(csv.reader(text, strict=True))
        except csv.Error as error:
            raise UserError(f"broken quote: {error}", where=f"{path}, line 1", remedy=_REMEDY) from error


def _walk(path: Path, width: int) -> None:
    """Raise at the first row with a broken quote or other than `width` fields; blank lines are passed over."""
    csv.field_size_limit(sys.maxsize)
    with open(path, encoding="utf-8-sig", newline="") as text:
        lines: list[str] = []  # of the row that is read

        def noted() -> Iterator[str]:
            for one in text:
                lines.append(one)
                yield one

        reader = csv.reader(noted(), strict=True)
        next(reader)
        row, line = 0, reader.line_num + 1
        while True:
            place = f"{path}, row {row} (line {line})"
            lines.clear()
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise UserError(
                    f"broken quote: {error}",
                    where=place,
                    remedy='close the field with a quote, and write a quote inside it twice ("")',
                ) from error
            if '"' in _QUOTED.sub("", "".join(lines).rstrip("\r\n")):
                raise UserError(
                    "a quote within a field that has none around it",
                    where=place,
                    remedy='put the field in quotes, and write a quote inside it twice ("")',
                )
            if fields and len(fields) != width:
                raise UserError(
                    f"{len(fields)} fields instead of {width}",
                    where=place,
                    remedy="put fields with commas or newlines in quotes",
                )
            row, line = row + 1, reader.line_num + 1
