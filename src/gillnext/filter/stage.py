"""Filter caption shards: drop repeated rows, then the keyword pass, then the classifier.

    gillnext filter --config config.yaml --shards world/shards/*.csv --model models/classifier --out filtered/0.parquet

Writes the kept rows (url, caption, spatial_type, shard, row) and, beside them, what was dropped and why (`.json`).
Every finished shard is kept in `<out>.work`, so that a killed run goes on with the next one.
"""

from __future__ import annotations

import argparse
import re
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from gillnext.config import Config
from gillnext.config.arguments import add_config, add_out
from gillnext.config.arguments import config as read_config
from gillnext.filter.keyword import keyword_pass
from gillnext.filter.lexicon import DEFAULT
from gillnext.filter.prompts import LABELS
from gillnext.filter.shards import read_shard
from gillnext.runtime import files, provenance
from gillnext.runtime.errors import UserError
from gillnext.runtime.progress import Progress

SCHEMA = {"url": pl.String, "caption": pl.String, "spatial_type": pl.String, "shard": pl.Int64, "row": pl.Int64}
Label = Callable[[list[str]], Sequence[str]]


def shard_number(path: Path) -> int:
    """The number of a shard: the last one in its name (`wukong_100m_12.csv`: 12)."""
    numbers = re.findall(r"[0-9]+", path.stem)
    if not numbers:
        raise UserError("the name has no number", where=str(path), remedy="name shards wukong_100m_{i}.csv")
    return int(numbers[-1])


def filter_shard(path: Path, label: Label, keep: Sequence[str]) -> tuple[pl.DataFrame, dict[str, int]]:
    """The kept rows of one shard (SCHEMA) and counts: rows, kept_<label>, and each reason for dropping."""
    table = read_shard(path)
    counts: Counter[str] = Counter({"rows": table.height})

    def drop(kept: pl.DataFrame, reason: str) -> pl.DataFrame:
        counts[reason] += table.height - kept.height
        return kept

    table = drop(table.filter(pl.all_horizontal(pl.col("url", "caption").str.strip_chars() != "")), "empty")
    table = drop(table.unique(["url", "caption"], keep="first", maintain_order=True), "repeated")
    table = drop(table.filter(keyword_pass(table["caption"])), "no_keyword")
    table = table.with_columns(
        pl.Series("spatial_type", label(table["caption"].to_list()), dtype=pl.String),
        pl.lit(shard_number(path), dtype=pl.Int64).alias("shard"),
    )
    for name in LABELS:
        found = int((table["spatial_type"] == name).sum())
        counts[f"kept_{name}" if name in keep else f"label_{name}"] += found
    return table.filter(pl.col("spatial_type").is_in(list(keep))).select(*SCHEMA), dict(counts)


def run(config: Config, shards: Sequence[Path], model: Path | str, out: Path) -> dict[str, Any]:
    """Filter `shards` into `out`; returns the counts, which are written beside it."""
    settings = config.filter
    if unknown := sorted(set(settings.keep) - set(LABELS)):
        raise UserError(
            f"no label {', '.join(unknown)}", where="filter.keep", remedy=f"choose from {', '.join(LABELS)}"
        )
    if repeated := [n for n, count in Counter(map(shard_number, shards)).items() if count > 1]:
        raise UserError(f"shard {repeated[0]} is given twice", where="--shards", remedy="name every shard once")
    work, target = out.with_name(out.name + ".work"), -(-settings.target // max(config.world.parts, 1))
    label, key = _labeller(config, model), _key(config, model)
    tables, counts = [], Counter[str]()
    with Progress("filter", len(shards), "shards") as progress:
        for path in shards:
            table, found = _finished(work, path, key) or _keep(work, path, key, label, settings.keep)
            tables.append(table)
            counts.update(found)
            kept = sum(t.height for t in tables)
            progress.step(rows=counts["rows"], kept=kept)
            if target and kept >= target:
                break
    return _write(tables, counts, target, out, work)


def _labeller(config: Config, model: Path | str) -> Label:
    """The classifier's `label`; it is loaded at the first call, which a finished run never makes."""
    loaded: list[Any] = []

    def label(captions: list[str]) -> Sequence[str]:
        if not captions:
            return []
        if not loaded:
            from gillnext.filter.classifier import Classifier
            from gillnext.runtime import training

            training.setup(config.run.threads, config.run.device)
            loaded.append(Classifier.from_pretrained(config.filter.model or model, config.run.device))
        with Progress("filter: classifier", len(captions), "captions") as progress:
            return loaded[0].label(captions, config.filter.batch, progress.step)

    return label


def _key(config: Config, model: Path | str) -> list[Any]:
    """What a finished shard's rows depend on besides the shard: code, settings, and the classifier's files."""
    folder = Path(config.filter.model or model)
    parts = sorted(p for p in folder.rglob("*") if p.is_file()) if folder.is_dir() else []
    weights = [[p.name, p.stat().st_size, p.stat().st_mtime_ns] for p in parts]
    lexicon = files.sha256(DEFAULT)
    return [provenance.code_hash(), lexicon, str(config.filter.model or model), weights, config.filter.keep]


def _finished(work: Path, shard: Path, key: list[Any]) -> tuple[pl.DataFrame, dict[str, int]] | None:
    """What an earlier run kept of this shard; None where it did not finish it, or something has changed since."""
    notes = work / f"{shard.stem}.json"
    if not notes.exists() or not shard.exists():
        return None
    known = files.read_json(notes)
    if known["key"] != key or known["sha256"] != files.sha256(shard):
        return None
    return pl.read_parquet(work / f"{shard.stem}.parquet"), known["counts"]


def _keep(
    work: Path, shard: Path, key: list[Any], label: Label, keep: Sequence[str]
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Filter a shard and keep what came of it in `work`."""
    table, counts = filter_shard(shard, label, keep)
    with files.atomic(work / f"{shard.stem}.parquet") as temporary:
        table.write_parquet(temporary)
    files.write_json(work / f"{shard.stem}.json", {"sha256": files.sha256(shard), "key": key, "counts": counts})
    return table, counts


def _write(tables: list[pl.DataFrame], counts: Counter[str], target: int, out: Path, work: Path) -> dict[str, Any]:
    table = pl.concat(tables) if tables else pl.DataFrame(schema=SCHEMA)
    once = table.unique(["url", "caption"], keep="first", maintain_order=True)
    counts["repeated_in_other_shard"] = table.height - once.height
    table = once
    if target and table.height > target:
        counts["over_target"] = table.height - target
        table = table.head(target)
    report = {"shards": len(tables), "kept": table.height, **counts}
    with files.atomic(out) as temporary:
        table.write_parquet(temporary)
    files.write_json(out.with_suffix(".json"), report)
    shutil.rmtree(work, ignore_errors=True)
    return report


def _natural(path: Path) -> list[tuple[int, int | str]]:
    """Sort key that puts shard 2 before shard 10."""
    return [(0, int(p)) if p.isdigit() else (1, p) for p in re.split(r"(\d+)", str(path))]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("--shards", type=Path, nargs="+", required=True, metavar="CSV", help="caption shards")
    parser.add_argument("--model", default="", metavar="FOLDER", help="caption classifier (or filter.model)")
    add_out(parser, "Parquet file of the kept rows; counts go beside it as .json")


def main(args: argparse.Namespace) -> None:
    run(read_config(args), sorted(args.shards, key=_natural), args.model, args.out)
