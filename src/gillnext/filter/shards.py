"""Reads caption shards in Wukong's form (`wukong_100m_{i}.csv`, header `url,caption`), or refuses them.

Polars reads; where it cannot, Python's csv module walks the file to the row and line at fault. Quoted fields may hold
commas, doubled quotes and newlines. Rows are numbered from 0 without the header, lines from 1 with it.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NoReturn

import polars as pl

from gillnext.runtime.errors import UserError

COLUMNS = ("url", "caption")
_REMEDY = "fetch or write the shard again, or leave it out of --shards"


def read_shard(path: Path | str) -> pl.DataFrame:
    """`row` (int, from 0), `url`, `caption` (str; missing ones as "") of a shard.

    Raises `UserError` for a broken quote, a missing column or field, an encoding other than UTF-8, and no rows.
    """
    path = Path(path)
    if not path.exists():
        raise UserError("no such shard", where=str(path), remedy=_REMEDY)
    try:
        table = pl.read_csv(path, columns=list(COLUMNS), infer_schema=False)
    except (pl.exceptions.PolarsError, pl.exceptions.ColumnNotFoundError) as error:
        _explain(path, str(error).splitlines()[0])
    if not table.height:
        _explain(path, "no rows")
    if table["caption"].null_count() or table["url"].null_count():
        _refuse_short_rows(path)
    return table.select(
        pl.int_range(pl.len(), dtype=pl.Int64).alias("row"), *(pl.col(c).fill_null("") for c in COLUMNS)
    )


def _explain(path: Path, otherwise: str) -> NoReturn:
    """Raise the error that says what is wrong with the file, and where."""
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"byte 0x{data[error.start]:02x} is not UTF-8",
            where=f"{path}, line {line}",
            remedy="convert the shard to UTF-8, e.g. iconv -f GB18030 -t UTF-8",
        ) from error
    lines = text.splitlines()
    if not lines:
        raise UserError("the shard is empty", where=str(path), remedy=_REMEDY)
    header = next(csv.reader(lines[:1]))
    if missing := [c for c in COLUMNS if c not in header]:
        raise UserError(
            f"no column {', '.join(missing)} (the header has: {', '.join(header)})",
            where=f"{path}, line 1",
            remedy="the first line must be: url,caption",
        )
    if len(lines) == 1:
        raise UserError("the shard has a header and no rows", where=str(path), remedy=_REMEDY)
    _walk(path, len(header))
    raise UserError(f"cannot read the shard: {otherwise}", where=str(path), remedy=_REMEDY)


def _refuse_short_rows(path: Path) -> None:
    with open(path, encoding="utf-8-sig", newline="") as text:
        width = len(next(csv.reader(text)))
    _walk(path, width)


def _walk(path: Path, width: int) -> None:
    """Raise at the first row with a broken quote or other than `width` fields; blank lines are passed over."""
    with open(path, encoding="utf-8-sig", newline="") as text:
        reader = csv.reader(text, strict=True)
        next(reader)
        row, line = 0, reader.line_num + 1
        while True:
            place = f"{path}, row {row} (line {line})"
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
            if fields and len(fields) != width:
                raise UserError(
                    f"{len(fields)} fields instead of {width}",
                    where=place,
                    remedy="put fields with commas or newlines in quotes",
                )
            row, line = row + 1, reader.line_num + 1
