"""Filter caption shards: the keyword pass, then repeated rows go, then the classifier.

    gillnext filter --config config.yaml --shards world/shards/*.csv --model models/classifier --out filtered/0.parquet

Writes the kept rows (url, caption, spatial_type, shard, row) and, beside them, what was dropped and why (`.json`).
Every finished shard of the keyword pass and every label is kept in `<out>.work`, so that a killed run goes on
where it was.
"""

from __future__ import annotations

import argparse
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import polars as pl

from gillnext.config import Config
from gillnext.config.arguments import add_config, add_out
from gillnext.config.arguments import config as read_config
from gillnext.filter.lexicon import DEFAULT, lexicon_file, read_lexicon
from gillnext.filter.prompts import LABELS
from gillnext.filter.shards import pass_shard
from gillnext.language.lengths import by_length
from gillnext.runtime import collector, files, pretrained, provenance
from gillnext.runtime.errors import UserError
from gillnext.runtime.halving import halving, out_of_memory
from gillnext.runtime.journal import Journal, at_work
from gillnext.runtime.progress import Progress
from gillnext.runtime.workers import Workers, on_actors

SCHEMA = {"url": pl.String, "caption": pl.String, "spatial_type": pl.String, "shard": pl.Int64, "row": pl.Int64}
CODE = "gillnext.filter.stage"  # whose change makes unfinished work another's
OUT_OF_MEMORY = "out of memory"  # the label of a caption that is asked about again by the next run
Batch = list[tuple[str, str]]  # key and caption
Label = Callable[[Sequence[tuple[str, str]]], list[str]]


def shard_number(path: Path) -> int:
    """The number of a shard: the last one in its name (`wukong_100m_12.csv`: 12)."""
    numbers = re.findall(r"[0-9]+", path.stem)
    if not numbers:
        raise UserError("the name has no number", where=str(path), remedy="name shards wukong_100m_{i}.csv")
    return int(numbers[-1])


def sift_shard(path: Path, out: Path, lexicon: Path = DEFAULT) -> dict[str, int]:
    """Write rows of a shard that name a place (row, url, caption), each once, to `out`; returns counts by reason."""
    with files.atomic(out) as temporary:
        return pass_shard(path, read_lexicon(lexicon), temporary)


class Sifted:
    """The keyword pass over shards, each kept in `work` when it is done, so that a killed run goes on with the next."""

    def __init__(self, work: Path, lexicon: Path = DEFAULT) -> None:
        self.work, self.lexicon, self.key = work, lexicon, [provenance.code_hash(CODE), files.sha256(lexicon)]
        work.mkdir(parents=True, exist_ok=True)

    def read(self, shard: Path) -> tuple[pl.DataFrame, dict[str, int]]:
        """The shard's rows that name a place (url, caption, shard, row), and counts.

        From an earlier run, if nothing that they depend on has changed; of the shard, its size and time of change: to
        hash it would take as long as to pass it.
        """
        table, notes = self.work / f"{shard.stem}.parquet", self.work / f"{shard.stem}.json"
        about = shard.stat() if shard.exists() else None  # `sift_shard` tells
        size, changed = (about.st_size, about.st_mtime_ns) if about else (-1, -1)
        made_from = {"key": self.key, "bytes": size, "mtime_ns": changed}
        known = files.read_json(notes) if notes.exists() else {}
        if {k: known.get(k) for k in made_from} != made_from:
            known = made_from | {"counts": sift_shard(shard, table, self.lexicon)}
            files.write_json(notes, known)
        number = pl.lit(shard_number(shard), dtype=pl.Int64).alias("shard")
        return pl.read_parquet(table).select("url", "caption", number, "row"), known["counts"]


def batches(rows: Batch, size: int) -> list[Batch]:
    """The rows in batches of captions of about one length, so that little is padded; the same for any devices."""
    return [[rows[i] for i in batch] for batch in by_length([len(caption) for _, caption in rows], size)]


def row_key(shard: int, row: int, caption: str) -> str:
    """Names a row in the journal; with a hash of its caption, as the shard may have changed by the next run."""
    return f"{shard}/{row}/{hashlib.blake2b(caption.encode(), digest_size=8).hexdigest()}"


def label_rows(
    table: pl.DataFrame, workers: Workers[tuple[str, str], list[str]], size: int, journal: Journal
) -> pl.DataFrame:
    """`table` with its `spatial_type`; batches that the journal knows are not asked about again.

    A caption that no worker could answer gets the label "", one for which memory ran out `OUT_OF_MEMORY`.
    """
    keys = [row_key(*row) for row in table.select("shard", "row", "caption").iter_rows()]
    known = sum(key in journal.done for key in keys)
    whole = batches(list(zip(keys, table["caption"], strict=True)), size)
    left = journal.unfinished(whole, itemgetter(0))
    with Progress("filter: classifier", len(keys), "captions", start=known) as progress:
        for batch, labels in workers.map(left):
            labels = labels if labels is not None else [""] * len(batch)
            progress.step(journal.add({key: label for (key, _), label in zip(batch, labels, strict=True)}))
    found = pl.Series("spatial_type", [journal.done[key] for key in keys], dtype=pl.String)
    return table.with_columns(found).select(*SCHEMA)


def run(config: Config, shards: Sequence[Path], model: Path | str, out: Path) -> dict[str, Any]:
    """Filter `shards` into `out`; returns the counts, which are written beside it."""
    settings = config.filter
    _check(config, shards, model)
    work, target = out.with_name(out.name + ".work"), -(-settings.target // max(config.world.parts, 1))
    kept, read, counts = pl.DataFrame(schema=SCHEMA), 0, Counter[str]()
    sifted = Sifted(work / "sifted", lexicon_file(settings.lexicon))
    make = partial(make_labeller, on_actors(config), pretrained.absolute(model))
    with (
        at_work(Journal(work, _job(model))) as journal,
        Workers(make, config) as workers,
        Progress("filter", len(shards), "shards") as progress,
    ):
        journal.ask_again(str, passing=(OUT_OF_MEMORY,), failed=(OUT_OF_MEMORY, ""))
        for path in shards:
            rows, found = sifted.read(path)
            table = label_rows(rows, workers, settings.batch, journal)
            counts.update(found)
            for name in LABELS:
                reason = f"kept_{name}" if name in settings.keep else f"label_{name}"
                counts[reason] += int((table["spatial_type"] == name).sum())
            counts["not_answered"] += int((~table["spatial_type"].is_in(list(LABELS))).sum())
            more = pl.concat([kept, table.filter(pl.col("spatial_type").is_in(settings.keep))])
            kept = more.unique(["url", "caption"], keep="first", maintain_order=True)
            counts["repeated_in_other_shard"] += more.height - kept.height
            read += 1
            progress.step(rows=counts["rows"], kept=kept.height)
            if target and kept.height >= target:
                break
        if (lost := counts["not_answered"]) and not any(label in LABELS for label in journal.done.values()):
            raise UserError(
                f"not one of {lost} captions could be labelled", where=str(out),
                remedy="look at the log and at the classifier; a smaller filter.batch takes less memory",
            )  # fmt: skip
        return _write(kept, read, counts, target, out, workers.pace)


def _check(config: Config, shards: Sequence[Path], model: Path | str) -> None:
    """Refuse what would only fail after the keyword pass."""
    if unknown := sorted(set(config.filter.keep) - set(LABELS)):
        raise UserError(
            f"no label {', '.join(unknown)}", where="filter.keep", remedy=f"choose from {', '.join(LABELS)}"
        )
    if repeated := [n for n, count in Counter(map(shard_number, shards)).items() if count > 1]:
        raise UserError(f"shard {repeated[0]} is given twice", where="--shards", remedy="name every shard once")
    pretrained.check(model, "--model", "name a folder that `gillnext classifier` wrote, or any causal language model")


def make_labeller(config: Config, model: Path | str) -> Label:
    """The classifier on this process's device, as a function of (key, caption) pairs."""
    with collector.spared():
        from gillnext.filter.classifier import Classifier
        from gillnext.runtime import training

    training.setup(config.run.threads, config.run.device)
    classifier = Classifier.from_pretrained(model, config.run.device)

    def label(batch: Sequence[tuple[str, str]]) -> list[str]:
        captions = [caption for _, caption in batch]
        found = halving(lambda part: classifier.label(part, len(part)), captions)
        return [one if isinstance(one, str) else OUT_OF_MEMORY if out_of_memory(one) else "" for one in found]

    return label


def _job(model: Path | str) -> str:
    """A fingerprint of what a label depends on besides its caption: code, and the classifier's files."""
    folder = Path(model)
    parts = sorted(p for p in folder.rglob("*") if p.is_file()) if folder.is_dir() else []
    weights = [[p.name, p.stat().st_size, p.stat().st_mtime_ns] for p in parts]
    return provenance.fingerprint(str(folder), weights, code=[CODE])


def _write(
    table: pl.DataFrame, shards: int, counts: Counter[str], target: int, out: Path, pace: dict[str, Any]
) -> dict[str, Any]:
    if target and table.height > target:
        counts["over_target"] = table.height - target
        table = table.head(target)
    report = {"shards": shards, "kept": table.height, **counts, **pace}
    with files.atomic(out) as temporary:
        table.rechunk().write_parquet(temporary)
    files.write_json(out.with_suffix(".json"), report)
    return report


def _natural(path: Path) -> list[tuple[int, int | str]]:
    """Sort key that puts shard 2 before shard 10."""
    return [(0, int(p)) if p.isdigit() else (1, p) for p in re.split(r"(\d+)", str(path))]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("--shards", type=Path, nargs="+", required=True, metavar="CSV", help="caption shards")
    parser.add_argument("--model", required=True, metavar="FOLDER", help="caption classifier")
    add_out(parser, "Parquet file of the kept rows; counts go beside it as .json")


def main(args: argparse.Namespace) -> None:
    run(read_config(args), sorted(args.shards, key=_natural), args.model, args.out)
