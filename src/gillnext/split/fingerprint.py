"""Fingerprints of a part's pictures: what tells copies from each other, and their sizes.

    gillnext fingerprint --layouts results/wukong/layouts/0.jsonl --out results/wukong/fingerprints/0.parquet

A row a layout, in its order: image_path, url, sha256 (of the file, hex), phash (`perceptual.phash`), width and height
in pixels once the picture is turned as its EXIF data says, and reason: why there is no picture, "" where there is one.
The counts by reason go to the same name with .json. Pictures are read one at a time. After an interruption the same
command goes on; a picture that was missing is looked for again.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from gillnext import layouts
from gillnext.annotate.rows import MISSING, read_image
from gillnext.config.arguments import add_out
from gillnext.layouts import Layout
from gillnext.runtime import files, provenance
from gillnext.runtime.errors import UserError
from gillnext.runtime.journal import at_work
from gillnext.runtime.progress import Progress
from gillnext.split.perceptual import phash

COLUMNS: dict[str, Any] = {
    "image_path": pl.String,
    "url": pl.String,
    "sha256": pl.String,
    "phash": pl.UInt64,
    "width": pl.UInt32,
    "height": pl.UInt32,
    "reason": pl.String,
}
BATCH = 500  # pictures that a killed run has to look at again, at most
CHANGED = "content has changed"


class Batches:
    """Unfinished work: `folder` with a Parquet file for each batch of rows that is done; emptied if of another job."""

    def __init__(self, folder: Path, job: str) -> None:
        self.folder, self.job = folder, job

    def __enter__(self) -> Batches:
        marker = self.folder / "job.json"
        if not marker.exists() or files.read_json(marker) != self.job:
            shutil.rmtree(self.folder, ignore_errors=True)
            files.write_json(marker, self.job)
        for path in self.folder.glob("*.parquet"):
            if MISSING in pl.read_parquet(path, columns=["reason"], glob=False)["reason"]:
                path.unlink()
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""

    def path(self, batch: int) -> Path:
        """Where the fingerprints of a batch are."""
        return self.folder / f"{batch:06d}.parquet"

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def look(row: Layout, images: Path) -> dict[str, Any]:
    """The fingerprint of a layout's picture."""
    known = {"image_path": row.image_path, "url": str(row.extra.get("url") or "")}
    nothing = known | {"sha256": "", "phash": 0, "width": 0, "height": 0}
    path = images / row.image_path
    image = read_image(path)
    if isinstance(image, str):
        return nothing | {"reason": image}
    content, expected = files.sha256(path), row.extra.get("sha256")
    if expected and expected != content:
        return nothing | {"reason": CHANGED}
    seen = {"sha256": content, "phash": phash(image), "width": image.width, "height": image.height}
    return known | seen | {"reason": ""}


def _rows(path: Path) -> Iterator[Layout]:
    for number, raw in files.numbered_jsonl(path):
        where = f"{path}, line {number}"
        row = layouts.from_row(raw, where)
        if not row.image_path:
            raise UserError("a layout without a picture", where=where, remedy='give its row an "image_path"')
        yield row


def fingerprint(source: Path, out: Path, images: Path | None = None) -> Counter[str]:
    """Look at the pictures of a part's layouts; returns how many rows have each reason.

    `images` is what relative paths start from. Raises `UserError` where there are rows and not one picture is there.
    """
    job = provenance.fingerprint(files.sha256(source), str(images), code=["gillnext.split.fingerprint"])
    total = sum(1 for _ in files.numbered_jsonl(source))
    with at_work(Batches(out.with_name(out.name + ".work"), job)) as work:
        with Progress("fingerprint", total, "pictures") as progress:
            rows = _rows(source)
            for number in itertools.count():
                if not (batch := list(itertools.islice(rows, BATCH))):
                    break
                if not (path := work.path(number)).exists():
                    table = pl.DataFrame([look(row, images or Path()) for row in batch], schema=COLUMNS)
                    with files.atomic(path) as temporary:
                        table.write_parquet(temporary)
                progress.step(len(batch))
        done = sorted(work.folder.glob("*.parquet"))
        table = pl.concat(pl.read_parquet(path, glob=False) for path in done) if done else pl.DataFrame(schema=COLUMNS)
        counts = Counter(table["reason"].to_list())
        if total and counts[MISSING] == total:
            raise UserError(
                f"not one of {total} pictures is there", where=str((images or Path()) / table["image_path"][0]),
                remedy="run from the folder that the layouts' paths start from, or name it with --images",
            )  # fmt: skip
        dropped = {reason: n for reason, n in sorted(counts.items()) if reason}
        files.write_json(out.with_suffix(".json"), {"rows": total, "read": counts[""], "rows_dropped": dropped})
        with files.atomic(out) as temporary:
            table.write_parquet(temporary)
    return counts


def read(path: Path) -> pl.DataFrame:
    """A table that `fingerprint` wrote; `UserError` where it is none."""
    try:
        return pl.read_parquet(path, columns=list(COLUMNS), glob=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise UserError(
            f"no table of fingerprints: {error}", where=str(path), remedy="make it: gillnext fingerprint"
        ) from error


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--layouts", type=Path, required=True, metavar="JSONL", help="of `gillnext annotate`")
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="what relative image paths start from")
    add_out(parser, "fingerprints, Parquet; the counts go to the same name with .json")


def main(args: argparse.Namespace) -> None:
    counts = fingerprint(args.layouts, args.out, args.images)
    print(f"fingerprint: {counts['']} of {counts.total()} pictures; others: {dict(counts - Counter({'': counts['']}))}")
