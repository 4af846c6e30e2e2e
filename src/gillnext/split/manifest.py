"""A manifest of a split: URL, SHA-256 of the picture and side, a row a picture, no captions.

Another lab makes the same split from it, of what it could still fetch.

Letters: N rows of all parts, in their order.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from gillnext.runtime import files
from gillnext.runtime.errors import UserError
from gillnext.split.pictures import Pictures
from gillnext.split.sides import NOWHERE, SIDES

COLUMNS = {"url": pl.String, "sha256": pl.String, "side": pl.String}
REMEDY = "give the manifest.parquet of a split: a row a picture of url, sha256 (64 hex digits) and side"


class Writer:
    """Collects a manifest part by part, in files, so that its rows are never all in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.parts = folder, 0
        folder.mkdir()

    def add(self, table: pl.DataFrame, side_N: np.ndarray) -> None:
        """The rows of a part's fingerprints that have a side."""
        named = table.select("url", "sha256").with_columns(side=pl.Series(side_N))
        named = named.filter(pl.col("side") != NOWHERE)
        sides = dict(enumerate(SIDES))
        named = named.with_columns(pl.col("side").replace_strict(sides, return_dtype=pl.String))
        named.write_parquet(self.folder / f"{self.parts:06d}.parquet")
        self.parts += 1

    def finish(self, out: Path) -> None:
        """Write what was added as one file."""
        paths = [self.folder / f"{part:06d}.parquet" for part in range(self.parts)]
        with files.atomic(out) as temporary:
            pl.scan_parquet(paths, glob=False).sink_parquet(temporary)
        shutil.rmtree(self.folder)


@dataclass(frozen=True)
class Named:
    """What a manifest says of N rows: `side_N`, `NOWHERE` for rows that it does not name, and counts of its entries:
    all, and by side those whose picture is gone, with those of them whose URL now gives another picture.
    """

    side_N: np.ndarray
    counts: dict[str, Any]


def read(path: Path) -> pl.DataFrame:
    """A checked manifest; `UserError` where it is none."""
    try:
        table = pl.read_parquet(path, columns=list(COLUMNS), glob=False)
        table = table.select(pl.col(name).cast(kind) for name, kind in COLUMNS.items())
    except (OSError, pl.exceptions.PolarsError) as error:
        raise UserError(f"no manifest: {error}", where=str(path), remedy=REMEDY) from error
    good = pl.col("sha256").str.contains("^[0-9a-f]{64}$") & pl.col("side").is_in(SIDES)
    wrong = table.with_row_index("place").filter(~good.fill_null(False))
    if wrong.height:
        row = wrong.row(0, named=True)
        what = f"sha256 {row['sha256']!r} and side {row['side']!r} are none"
        raise UserError(what, where=f"{path}, row {row['place']}", remedy=REMEDY)
    if (twice := table.filter(pl.col("sha256").is_duplicated())).height:
        raise UserError(f"{twice['sha256'][0]} comes twice", where=str(path), remedy="keep one row a picture")
    return table.with_columns(pl.col("url").fill_null(""))


def sides_of(path: Path, pictures: Pictures) -> Named:
    """The sides that the manifest at `path` tells of the pictures, by content."""
    table = read(path)
    sha = bytes.fromhex("".join(table["sha256"].to_list()))
    words = np.frombuffer(sha, dtype=">u8").reshape(-1, 4)[:, :2].astype(np.uint64)
    sides = {name: i for i, name in enumerate(SIDES)}
    entries = pl.DataFrame(
        {
            "a": words[:, 0],
            "b": words[:, 1],
            "side": table["side"].replace_strict(sides, return_dtype=pl.Int8),
            "url": table.select(pl.col("url").hash()).to_series(),
        }
    )
    rows = pl.DataFrame({"a": pictures.content_N2[:, 0], "b": pictures.content_N2[:, 1]})
    named = rows.join(entries, on=["a", "b"], how="left", maintain_order="left")
    here = rows.filter(pl.Series(pictures.good_N))
    gone = entries.join(here, on=["a", "b"], how="anti")
    other = gone.filter(pl.col("url").is_in(pl.Series(pictures.url_N[pictures.good_N]).implode()))
    return Named(
        named["side"].fill_null(NOWHERE).to_numpy(),
        {"entries": table.height, "gone": _by_side(gone), "gone_with_another_picture_at_the_url": _by_side(other)},
    )


def _by_side(entries: pl.DataFrame) -> dict[str, int]:
    return {name: int((entries["side"] == i).sum()) for i, name in enumerate(SIDES)}
