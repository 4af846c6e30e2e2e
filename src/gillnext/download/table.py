"""The rows to fetch: what the filter stage has kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from gillnext.runtime.errors import UserError

COLUMNS = {
    "url": pl.String,
    "caption": pl.String,
    "spatial_type": pl.String,
    "shard": pl.Int64,
    "row": pl.Int64,
}


class Rows:
    """A table's rows by their place in it, each a dictionary when it is asked for.

    They stay columns meanwhile: a row takes its bytes and little more.
    """

    def __init__(self, table: pl.DataFrame) -> None:
        """`table` has the columns of `COLUMNS`, in this order."""
        self.table = table.rechunk()

    def __len__(self) -> int:
        return self.table.height

    def __getitem__(self, place: int) -> dict[str, Any]:
        return self.table.row(place, named=True)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self.table.iter_rows(named=True)


def read_table(path: Path) -> Rows:
    """The rows to fetch; a `UserError` names a missing file or column, or the first row without a name of its own."""
    try:
        table = pl.read_parquet(path, glob=False)
    except FileNotFoundError as error:
        raise UserError("no such table", where=str(path), remedy="run `gillnext filter` first") from error
    except pl.exceptions.PolarsError as error:
        raise UserError(
            f"not a Parquet table: {error}", where=str(path), remedy="run `gillnext filter` again"
        ) from error
    if missing := [name for name in COLUMNS if name not in table.columns]:
        raise UserError(
            f"lacks the columns {', '.join(missing)}", where=str(path), remedy=f"needed: {', '.join(COLUMNS)}"
        )
    try:
        table = table.select(pl.col(name).cast(kind) for name, kind in COLUMNS.items())
    except pl.exceptions.PolarsError as error:
        raise UserError(f"a column of another kind: {error}", where=str(path), remedy=f"needed: {COLUMNS}") from error
    nameless = pl.any_horizontal(pl.col("shard", "row").is_null()) | pl.struct("shard", "row").is_duplicated()
    if (wrong := table.with_row_index("place").filter(nameless)).height:
        raise UserError(
            "no shard and row number of its own", where=f"{path}, row {wrong['place'][-1]}",
            remedy="they name the row's image; tables of other releases need other shard numbers",
        )  # fmt: skip
    return Rows(table)
