"""Score the data stages against the world's truth: filter, download and annotation.

    gillnext quality --world R/world --filtered R/filtered/*.parquet --index R/index/*.jsonl \\
        --layouts R/layouts/*.jsonl --model R/models/annotator --classifier R/models/classifier --out R/scores/data.json

The truth (R/world/truth/{i}.parquet) is read here and by the world's server, and by nothing that is trained.
"Spatial" is strong or weak. Every figure comes with the number that it is a share of (`counts`).
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from gillnext import layouts
from gillnext.annotate.oom import survival
from gillnext.config import Config, arguments
from gillnext.config.data import World
from gillnext.filter.classifier import Classifier
from gillnext.filter.lexicon import lexicon_file, read_lexicon
from gillnext.instruments.detections import Detections
from gillnext.layouts import Layout
from gillnext.miniatures.filter_quality import Metrics, filter_breakdown, filter_metrics, native_metrics, share
from gillnext.miniatures.world import cutouts
from gillnext.miniatures.world.objects import DRAWN, Objects, of
from gillnext.runtime import files, provenance, training
from gillnext.runtime.errors import UserError
from gillnext.score.boxes import HIT, Requested, assign
from gillnext.statistics import wilson

RECOVERABLE = ("", "server_error", "slow", "redirect")  # faults behind which there is an image of its own
PROTOCOL = {
    "spatial": "strong or weak, over all rows of the shards",
    "native": "held-out captions of miniatures/native_captions.tsv, which no template made",
    "annotation": "objects that caption names and image holds; miou over found ones, recall at IoU 0.5",
    "annotation_oom": "injected: a call has room for one to twice a batch of images; an image in 64 never fits",
    "download_first": "estimated: every row at the kept rows' mean size and share alive",
}
# Metrics that are shares of rows, links or objects, each counted right or wrong: they get Wilson's interval. Images of
# which a whole batch is lost or kept at once (annotation_oom_survived_plain) are no such things.
SHARES = (
    "filter_precision", "filter_recall", "filter_label_accuracy", "filter_spatial_label_accuracy", "keyword_precision",
    "keyword_recall", "download_alive", "download_kept", "download_recovered", "download_bad_accepted",
    "annotation_recall", "annotation_found", "annotation_wrong", "annotation_rows_kept", "annotation_oom_survived",
    "annotation_oom_same", "native_keyword_recall_strong", "native_keyword_recall", "native_keyword_passed_none",
    "native_filter_precision", "native_filter_recall",
)  # fmt: skip


def intervals(metrics: Metrics) -> dict[str, list[float]]:
    """The 95% interval of every share, where there is something that it is a share of."""
    found = {}
    for name in SHARES:
        value, n = metrics.get(name, (0.0, 0))
        if n:
            found[name] = wilson(value, n)
    return found


def number(name: str) -> int:
    """The shard number at the end of a file's stem: truth/3.parquet, wukong_100m_3.csv, or plain 3."""
    found = re.search(r"(\d+)(\.\w+)?$", name)
    if not found:
        raise UserError("has no shard number", where=name, remedy="name shards wukong_100m_{i}.csv")
    return int(found[1])


def read_truth(world: Path) -> pl.DataFrame:
    """All truth rows, with their `shard` number; raises `UserError` where there are none."""
    parts = sorted((world / "truth").glob("*.parquet"), key=lambda p: number(p.name))
    if not parts:
        raise UserError("no truth/*.parquet", where=str(world), remedy="make the world first: gillnext world")
    return pl.concat(
        pl.read_parquet(part).with_columns(shard=pl.lit(number(part.name), pl.Int64), row=pl.col("row").cast(pl.Int64))
        for part in parts
    )


def read_kept(paths: Sequence[Path]) -> pl.DataFrame:
    """The filter's rows of all parts: shard and row as numbers, `predicted`, url and caption."""
    tables = []
    for path in paths:
        table = pl.read_parquet(path)
        if missing := {"url", "caption", "spatial_type", "shard", "row"} - set(table.columns):
            raise UserError(f"lacks {', '.join(sorted(missing))}", where=str(path), remedy="run gillnext filter again")
        shard = pl.col("shard").cast(pl.String).str.extract(r"(\d+)(?:\.\w+)?$").cast(pl.Int64)
        tables.append(table.select("url", "caption", shard, pl.col("row").cast(pl.Int64), predicted="spatial_type"))
    return pl.concat(tables)


def judge(truth: pl.DataFrame, kept: pl.DataFrame) -> pl.DataFrame:
    """The truth with the filter's `predicted` label, "none" where a row was not kept."""
    answers = kept.select("shard", "row", "predicted").unique(["shard", "row"])
    return truth.join(answers, on=["shard", "row"], how="left", maintain_order="left").with_columns(
        pl.col("predicted").fill_null("none")
    )


def download_metrics(
    judged: pl.DataFrame, kept: pl.DataFrame, arrived: Iterable[str]
) -> tuple[Metrics, dict[str, dict[str, float]]]:
    """Shares of kept rows that are in the index, in all and by the fault of their link; `arrived`: its URLs.

    Copies of another row's image are no failure and no gain: they count in `download_kept` only.
    """
    rows = kept.join(judged.select("shard", "row", "fault"), on=["shard", "row"], how="left").with_columns(
        pl.col("fault").fill_null(""), arrived=pl.col("url").is_in(list(arrived))
    )
    good, copy = rows["fault"].is_in(RECOVERABLE), rows["fault"] == "duplicate"
    by_fault = rows.group_by("fault").agg(n=pl.len(), kept=pl.col("arrived").mean().round(6)).sort("fault")
    metrics = {
        "download_kept": share(rows["arrived"]),
        "download_recovered": share(rows["arrived"].filter(good)),
        "download_bad_accepted": share(rows["arrived"].filter(~good & ~copy)),
    }
    counts = by_fault.iter_rows(named=True)
    return metrics, {r["fault"] or "no fault": {"n": r["n"], "kept": r["kept"]} for r in counts}


def outcomes(indexes: Sequence[Path]) -> Counter[str]:
    """The download stage's own count of rows by outcome, from the JSON beside each index."""
    total: Counter[str] = Counter()
    for path in indexes:
        total.update(files.read_json(path.with_suffix(".json"))["outcomes"])
    return total


def alive_metric(counted: Counter[str]) -> Metrics:
    """The share of links with an image behind them, copies of another row's image included."""
    rows = sum(counted.values())
    return {"download_alive": ((counted["ok"] + counted["duplicate"]) / max(rows, 1), rows)}


def named_objects(caption: str, names: Sequence[str]) -> list[int]:
    """Which of a scene's objects the caption names."""
    return [i for i, name in enumerate(names) if name in caption]


def annotation_metrics(
    pictures: Iterable[tuple[str, str]],
    annotated: dict[tuple[str, str], Layout],
    scene_of: dict[str, int],
    seed: int,
    objects: Objects = DRAWN,
) -> Metrics:
    """Boxes of the annotator against the scenes', for every picture (url, caption) that it was given.

    Over the objects that the caption names and the picture holds; a row that the annotator gave up counts as
    missing.
    """
    ious: list[float] = []
    found: list[bool] = []
    wrong: list[bool] = []
    kept: list[bool] = []
    for url, caption in pictures:
        scene = objects.sample(seed, "world", scene_of[url])
        labels = [thing.kind.id for thing in scene.objects]
        named = named_objects(caption, scene.names)
        layout = annotated.get((url, caption))
        names, boxes = (layout.names, layout.boxes) if layout else ((), ())
        answered = np.array([objects.ids.get(name, -1) for name in names], dtype=np.int64)
        answers = Detections(np.asarray(boxes, float).reshape(-1, 4), answered, np.ones(len(answered)))
        wanted = Requested(np.array(labels, dtype=np.int64)[named], scene.boxes[named])
        ious += assign(wanted, answers).tolist()
        found += [labels[i] in answered for i in named]
        wrong += [int(label) not in labels for label in answered]
        kept.append(layout is not None)
    values, present = np.asarray(ious), np.asarray(found, dtype=bool)
    return {
        "annotation_miou": share(values[present]),
        "annotation_miou_all": share(values),
        "annotation_recall": share(values >= HIT),
        "annotation_found": share(present),
        "annotation_wrong": share(wrong),
        "annotation_rows_kept": share(kept),
    }


def order_metrics(rows: int, kept: int, sizes: Sequence[int], alive: float) -> Metrics:
    """What filtering before the download saves; by construction of the world, which sets its spatial share.

    Downloading first would ask for every row; its bytes are an estimate by the kept rows' mean size and
    share alive, left out where the images are gone.
    """
    metrics: Metrics = {
        "requests_filter_first": (float(kept), rows),
        "requests_download_first": (float(rows), rows),
        "requests_saved": (1 - kept / rows, rows),
    }
    if sizes:
        first, n = float(sum(sizes)), len(sizes)
        metrics |= {
            "bytes_filter_first": (first, n),
            "bytes_download_first": (round(first / n * alive * rows), n),
        }
    return metrics


def told_cutouts(world: World) -> dict[str, Any]:
    """What a paper says of the cut-outs that scenes are made of: counts, medium, makers and licences."""
    if world.drawn:
        return {}
    found = cutouts.read(world.objects)
    by = Counter((cut.author or "author unknown", cut.licence or "licence unknown") for cut in found)
    return {
        "cutouts": len(found),
        "cutouts_held_out": sum(cut.held_out for cut in found),
        "cutouts_medium": found[0].medium,
        "cutouts_kinds": len({cut.kind for cut in found}),
        "cutouts_by": "; ".join(f"{author}, {licence}: {count}" for (author, licence), count in sorted(by.items())),
    }


def quality(
    config: Config, world: Path, filtered: Sequence[Path], indexes: Sequence[Path], annotated: Sequence[Path],
    model: Path | str, classifier: Path | str,
) -> dict[str, Any]:  # fmt: skip
    """All data scores as a score file's content; `model` is the annotator, `classifier` the filter's."""
    truth, kept = read_truth(world), read_kept(filtered)
    judged = judge(truth, kept)
    index = [row for path in indexes for row in files.read_jsonl(path)]
    rows = [row for path in annotated for row in layouts.read(path)]
    by_picture = {(str(row.extra.get("url", "")), row.caption): row for row in rows}
    scene_of = dict(truth.select("url", "scene").iter_rows())
    pictures = [(row["url"], row["caption"]) for row in index]
    if strange := [url for url, _ in pictures if url not in scene_of]:
        raise UserError(f"{strange[0]} is no URL of the world", where=str(indexes[0]), remedy="download again")
    arrived, by_fault = download_metrics(judged, kept, {url for url, _ in pictures})
    counted = outcomes(indexes)
    alive = alive_metric(counted)
    sizes = [path.stat().st_size for row in index if (path := Path(row["image_path"])).is_file()]
    lexicon = read_lexicon(lexicon_file(config.filter.lexicon))
    training.setup(config.run.threads, config.run.device)
    metrics: Metrics = {
        **filter_metrics(judged, lexicon),
        **native_metrics(lexicon, Classifier.from_pretrained(classifier, config.run.device).label),
        **alive,
        **arrived,
        **annotation_metrics(pictures, by_picture, scene_of, config.run.seed, of(config)),
        **survival(config, model, indexes),
        **order_metrics(len(truth), len(kept), sizes, alive["download_alive"][0]),
    }
    hashes = {"filtered": filtered, "index": indexes, "layouts": annotated}
    return {
        "name": "data",
        "arm": None,
        "seed": None,
        "n": len(truth),
        "metrics": {key: round(value, 6) for key, (value, _) in metrics.items()},
        "counts": {key: n for key, (_, n) in metrics.items()},
        "intervals": intervals(metrics),
        "breakdown": {**filter_breakdown(judged), "kept_by_fault": by_fault, "outcomes": dict(counted)},
        "protocol": PROTOCOL | told_cutouts(config.world),
        "hashes": {key: "+".join(map(files.sha256, paths)) for key, paths in hashes.items()},
        "provenance": provenance.stamp(),
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.add_config(parser)
    parser.add_argument("--world", type=Path, required=True, metavar="DIR", help="folder of gillnext world")
    parser.add_argument("--filtered", type=Path, nargs="+", required=True, metavar="PARQUET", help="kept rows")
    parser.add_argument("--index", type=Path, nargs="+", required=True, metavar="JSONL", help="downloaded rows")
    parser.add_argument("--layouts", type=Path, nargs="+", required=True, metavar="JSONL", help="annotated rows")
    parser.add_argument("--model", required=True, metavar="PATH", help="annotator folder or hub id")
    parser.add_argument("--classifier", required=True, metavar="PATH", help="caption classifier folder or hub id")
    arguments.add_out(parser, "score file")


def main(args: argparse.Namespace) -> None:
    config = arguments.config(args)
    report = quality(config, args.world, args.filtered, args.index, args.layouts, args.model, args.classifier)
    files.write_json(args.out, report)
    metrics = ", ".join(f"{key} {value:.4g}" for key, value in report["metrics"].items())
    print(f"quality: {metrics}", file=sys.stderr)
