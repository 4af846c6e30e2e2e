"""Fetch the kept rows' images and write the index.

    gillnext download --config config.yaml --table results/demo/filtered/0.parquet \\
        --images results/demo/images/0 --out results/demo/index/0.jsonl

Writes the images (named by shard and row) with status.parquet (one line a row: shard, row, url, kind,
detail), the index (image_path, caption, spatial_type, url, sha256, width, height, shard, row; in the table's
order) and, beside it, a JSON with the outcomes by kind. Images with the same content are kept once, the
first of them. Rows that ended with an error that may pass are tried once more at the end. With --host a
name leads to an address on this machine (`gillnext serve … -- gillnext download …`). A killed run goes on where it
stopped: work is kept in IMAGES.work until the end, and set aside (IMAGES.work.JOB) where the table, the settings, the
source of the pictures or this stage's code have changed.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import ipaddress
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from gillnext.config.arguments import add_config, add_out
from gillnext.config.arguments import config as read_config
from gillnext.config.data import Download
from gillnext.config.model import Config
from gillnext.download.client import Client, host_of
from gillnext.download.journal import PASSED_OVER, Journal, Outcome
from gillnext.download.per_host import Turns
from gillnext.download.pictures import KINDS, Rejected
from gillnext.download.table import Rows, read_table
from gillnext.runtime import files, provenance
from gillnext.runtime.errors import UserError
from gillnext.runtime.journal import at_work
from gillnext.runtime.progress import Progress

Hosts = Mapping[str, tuple[str, int]]
STATUS = ["shard", "row", "url"]  # of the table; kind and detail come to them
UNASKED = ("connection", "certificate", "timeout", "refused", "unknown_host")  # kinds of a link that nothing came from


def job_name(table: Path, config: Config, source: str) -> str:
    """A hash of what the outcomes depend on: the table, settings of what is accepted, the source, the code."""
    names = ("min_side", "max_aspect", "max_bytes", "max_pixels", "hosts")
    accepted = [getattr(config.download, name) for name in names]
    return provenance.fingerprint(files.sha256(table), accepted, source, code=["gillnext.download.stage"])


async def fetch_row(client: Client, journal: Journal, index: int, row: dict[str, Any]) -> Outcome:
    """Fetch one row and write its image; never raises for what the network did, but for what the disk did."""
    try:
        picture = await client.fetch(row["url"] or "")
    except Rejected as failure:
        return failed(index, failure.kind, failure.detail)
    except Exception as error:  # whatever an answer makes a library raise ends its own row alone
        return failed(index, "connection", f"{type(error).__name__}: {error}"[:80])
    name = f"{row['shard']:03d}_{row['row']:06d}{picture.suffix}"
    await asyncio.to_thread(journal.keep, name, picture.data)
    return Outcome(index, "ok", "", name, picture.sha256, picture.width, picture.height)


def failed(index: int, kind: str, detail: str) -> Outcome:
    """The outcome of a row without an image; bytes of a header that are no text become question marks."""
    return Outcome(index, kind, detail.encode(errors="replace").decode())


async def fetch_all(rows: Rows, config: Config, hosts: Hosts, journal: Journal) -> None:
    """Fetch the rows that the journal does not know yet, and once more those whose error may have passed by then."""
    left = [i for i in range(len(rows)) if i not in journal.done]
    with Progress("download", len(rows), "rows", start=len(journal.done)) as progress:
        await fetch_pass(left, rows, config.download, hosts, journal, progress)
    again = [i for i in left if journal.done[i].kind in PASSED_OVER]
    if again:
        with Progress("download: once more", len(again), "rows") as progress:
            await fetch_pass(again, rows, replace(config.download, retries=0), hosts, journal, progress)


async def fetch_pass(
    left: list[int], rows: Rows, settings: Download, hosts: Hosts, journal: Journal, progress: Progress
) -> None:
    """Fetch the rows `left`, `download.concurrency` at a time and `download.per_host` of these from one host."""
    turns = Turns(((i, host_of(rows[i]["url"] or "")) for i in left), settings.per_host)
    async with Client(settings, hosts) as client, asyncio.TaskGroup() as workers:

        async def work() -> None:
            turn = turns.first()
            while turn:
                index, host = turn
                if journal.add(await fetch_row(client, journal, index, rows[index])):
                    await asyncio.to_thread(journal.flush)
                progress.step()
                turn = turns.after(host)

        for _ in range(max(settings.concurrency, 1)):
            workers.create_task(work())


def without_duplicates(outcomes: list[Outcome]) -> list[Outcome]:
    """In row order, every later image with the content of an earlier one becomes a "duplicate"."""
    first: dict[str, int] = {}
    marked = []
    for o in outcomes:
        if o.kind == "ok" and first.setdefault(o.sha256, o.index) != o.index:
            o = Outcome(o.index, "duplicate", f"of row {first[o.sha256]} of the table")
        marked.append(o)
    return marked


def finish(rows: Rows, journal: Journal, images: Path, out: Path) -> None:
    """Write index, counts and status, and put the images into their place; everything in row order.

    Of the journal's work nothing is touched: a kill at any moment leaves all that it takes to finish again.
    """
    outcomes = without_duplicates([journal.done[i] for i in range(len(rows))])
    counts = collections.Counter(o.kind for o in outcomes)
    if rows and sum(counts[kind] for kind in UNASKED) == len(rows):
        raise UserError(
            f"not one of {len(rows)} links could be asked; the first: {outcomes[0].kind}, {outcomes[0].detail}",
            where=str(out),
            remedy="check the network, whose names must lead to public addresses without a proxy, and the clock; then "
            f"remove {journal.folder}, which says of some links that they are not asked again",
        )  # fmt: skip
    files.write_jsonl(
        out,
        (
            {"image_path": str(images / o.file), **row, "sha256": o.sha256, "width": o.width, "height": o.height}
            for o, row in zip(outcomes, rows, strict=True)
            if o.kind == "ok"
        ),
    )
    by_kind = {kind: counts[kind] for kind in KINDS}
    files.write_json(out.with_suffix(".json"), {"rows": len(rows), "kept": counts["ok"], "outcomes": by_kind})
    status = rows.table.select(STATUS).with_columns(
        pl.Series("kind", [o.kind for o in outcomes], pl.String),
        pl.Series("detail", [o.detail for o in outcomes], pl.String),
    )
    with files.atomic(images) as temporary:
        temporary.mkdir()
        for o in outcomes:
            if o.kind == "ok":
                files.link(journal.images / o.file, temporary / o.file)
        status.write_parquet(temporary / "status.parquet")


def check_images(images: Path, rows: Rows) -> None:
    """Refuse a folder that holds anything but this table's images: the folder is replaced at the end."""
    if not images.exists() or not any(images.iterdir()):
        return
    try:
        same = pl.read_parquet(images / "status.parquet", columns=STATUS).equals(rows.table.select(STATUS))
    except (OSError, pl.exceptions.PolarsError):
        same = False
    if not same:
        raise UserError(
            "holds something else than this table's images", where=str(images),
            remedy="name another folder with --images, or remove this one",
        )  # fmt: skip


def address_of(host: str, place: str) -> tuple[str, int]:
    """(IP address, port) of "address:port"."""
    ip, _, port = place.rpartition(":")
    try:
        return str(ipaddress.ip_address(ip.strip("[]"))), int(port)
    except ValueError as error:
        raise UserError(
            f"{place!r} is no address and port", where=f"download.hosts.{host}", remedy="write 127.0.0.1:8080"
        ) from error


def host_at(text: str) -> tuple[str, str]:
    """Host and address of "host=address:port"."""
    host, _, place = text.partition("=")
    if not host or not place:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST=ADDRESS:PORT")
    return host, place


def download(
    config: Config, table: Path, images: Path, out: Path, hosts: Mapping[str, str] | None = None, source: str = ""
) -> None:
    """Fetch a table's images; the result depends on neither concurrency nor interruptions.

    `hosts` maps a name to "address:port", beside `download.hosts`. `source` names what stands behind them: unfinished
    work of another source is not taken up.
    """
    rows = read_table(table)
    check_images(images, rows)
    served = {host: address_of(host, place) for host, place in ({**config.download.hosts, **(hosts or {})}).items()}
    work = images.with_name(images.name + ".work")
    with at_work(Journal(work, job_name(table, config, source))) as journal:
        if len(journal.done) < len(rows):
            asyncio.run(_fetching(rows, config, served, journal))
        finish(rows, journal, images, out)


async def _fetching(rows: Rows, config: Config, hosts: Hosts, journal: Journal) -> None:
    try:
        await fetch_all(rows, config, hosts, journal)
    except* UserError as group:
        raise group.exceptions[0] from None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("--table", type=Path, required=True, help="Parquet of the filter stage")
    parser.add_argument(
        "--host", type=host_at, action="append", default=[], metavar="HOST=ADDRESS:PORT", help="where a host is found"
    )
    parser.add_argument("--source", default="", help="names the pictures behind these hosts")
    parser.add_argument("--images", type=Path, required=True, help="folder of the images")
    add_out(parser, "index (JSONL); outcomes by kind go beside it as .json")


def main(args: argparse.Namespace) -> None:
    download(read_config(args), args.table, args.images, args.out, dict(args.host), args.source)
