"""What the data stages kept and lost of a release, from the counts that they wrote: its data scores.

    gillnext tally --filtered R/filtered/*.json --index R/index/*.json --layouts R/layouts/*.json \\
        --split R/split/counts.json --boxes R/layouts/*.jsonl --labels labels.csv --out R/scores/data.json

Nobody knows what a release's captions and pictures really hold: these are counts and no scores against truth. But where
a person has drawn boxes (`--labels`, the CSV of `gillnext review --label`), the annotator's are scored by these
(`gillnext.annotate.agreement`): precision, recall and mean IoU, over the images of the CSV.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from gillnext.annotate import agreement
from gillnext.config import arguments
from gillnext.record.results import BY_HAND, LABELLED, PACES
from gillnext.runtime import files, provenance
from gillnext.runtime.errors import UserError
from gillnext.statistics import wilson

TRUTH = "no truth: counts of what was kept; boxes against hand-drawn ones where there are some"
ALIVE = ("ok", "duplicate", "too_small")  # outcomes of links behind which a picture was found
Share = tuple[int, int]  # of how many
# What `agreement` calls its scores -> what the data scores call the same: its mean IoU has 0 for what is missing.
HAND = dict(zip(("annotation_precision", "annotation_recall", "annotation_miou"), BY_HAND, strict=True))


def summed(paths: Sequence[Path]) -> Counter[str]:
    """The numbers of JSON files added up; those of a mapping within by its key and theirs: outcomes.ok."""
    total: Counter[str] = Counter()
    for path in paths:
        content = files.read_json(path)
        if not isinstance(content, dict):
            raise UserError("holds no counts", where=str(path), remedy=files.AGAIN)
        for key, value in content.items():
            for name, number in value.items() if isinstance(value, dict) else [("", value)]:
                if isinstance(number, int) and not isinstance(number, bool):
                    total[f"{key}.{name}".rstrip(".")] += number
    return total


def within(counts: Counter[str], key: str) -> dict[str, int]:
    """The numbers of a mapping within."""
    return {name.removeprefix(f"{key}."): n for name, n in counts.items() if name.startswith(f"{key}.")}


def paces(paths: Sequence[Path]) -> dict[str, dict[str, float]]:
    """Part -> the GPUs that shared its items, and the seconds that these took (`Workers.pace`), where it tells."""
    found = {path.stem: files.read_json(path).get("pace") for path in paths}
    return {part: pace for part, pace in found.items() if pace}


def shares(
    filtered: Counter[str], index: Counter[str], annotated: Counter[str], split: Counter[str]
) -> dict[str, Share]:
    """Metric -> how many of how many."""
    asked, objects, lost = index["rows"], annotated["objects"], sum(within(annotated, "objects_dropped").values())
    return {
        "spatial_share_before": (filtered["kept_strong"] + filtered["kept_weak"], filtered["rows"]),
        "filter_kept_share": (filtered["kept"], filtered["rows"]),
        "download_alive": (sum(index[f"outcomes.{name}"] for name in ALIVE), asked),
        "download_kept": (index["kept"], asked),
        "annotation_rows_kept": (annotated["kept"], annotated["rows"]),
        "annotation_found": (objects, objects + lost),
        "split_rows_kept": (split["rows"] - sum(within(split, "rows_dropped").values()), split["rows"]),
    }  # fmt: skip


def by_hand(boxes: Sequence[Path], labels: Path) -> dict[str, Any]:
    """Metrics, counts and intervals of the annotator's boxes by drawn ones, under `BY_HAND`'s names; the protocol."""
    report = agreement.compare(boxes, labels)
    known = [name for name, value in report["metrics"].items() if value is not None]
    return {
        "metrics": {HAND[name]: round(report["metrics"][name], 6) for name in known} | {LABELLED: report["n"]},
        "counts": {HAND[name]: report["counts"][name] for name in known} | {LABELLED: report["n"]},
        "intervals": {HAND[name]: [round(end, 6) for end in report["intervals"][name]] for name in known},
        "protocol": report["protocol"],
    }


def tally(
    filtered: Sequence[Path],
    index: Sequence[Path],
    annotated: Sequence[Path],
    split: Path,
    boxes: Sequence[Path] = (),
    labels: Path | None = None,
) -> dict[str, Any]:
    """The counts of all parts as a score file's content; with `labels` the scores of the layouts in `boxes` by it."""
    parts = {
        "filtered": summed(filtered),
        "index": summed(index),
        "layouts": summed(annotated),
        "split": summed([split]),
    }
    found = shares(parts["filtered"], parts["index"], parts["layouts"], parts["split"])
    drawn = by_hand(boxes, labels) if labels else {"metrics": {}, "counts": {}, "intervals": {}}
    known: Iterable[tuple[str, Share]] = [(name, share) for name, share in found.items() if share[1]]
    return {
        "name": "data",
        "arm": None,
        "seed": None,
        "n": parts["filtered"]["rows"],
        "metrics": {name: round(k / n, 6) for name, (k, n) in known} | drawn["metrics"],
        "counts": {name: n for name, (_, n) in known} | drawn["counts"],
        "intervals": {name: wilson(k / n, n) for name, (k, n) in known} | drawn["intervals"],
        "breakdown": {
            "outcomes": within(parts["index"], "outcomes"),
            "annotation_dropped": within(parts["layouts"], "rows_dropped"),
            "objects_dropped": within(parts["layouts"], "objects_dropped"),
            "split_dropped": within(parts["split"], "rows_dropped"),
            "split_boxes_dropped": within(parts["split"], "boxes_dropped"),
            **{PACES[stage]: paces(of) for stage, of in (("filter", filtered), ("annotation", annotated))},
        },
        "protocol": {"truth": TRUTH} | drawn.get("protocol", {}),
        "hashes": {"labels": files.sha256(labels)} if labels else {},
        "provenance": provenance.stamp(),
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    for name, what in (("filtered", "filter"), ("index", "download"), ("layouts", "annotate")):
        text = f"counts of stage {what}, a file a part"
        parser.add_argument(f"--{name}", type=Path, nargs="+", required=True, metavar="JSON", help=text)
    parser.add_argument("--split", type=Path, required=True, metavar="JSON", help="counts of stage split")
    parser.add_argument("--boxes", type=Path, nargs="+", default=[], metavar="JSONL", help="layouts, for --labels")
    parser.add_argument("--labels", type=Path, metavar="CSV", help="boxes drawn by hand, to score the annotator's by")
    arguments.add_out(parser, "score file")


def main(args: argparse.Namespace) -> None:
    report = tally(args.filtered, args.index, args.layouts, args.split, args.boxes, args.labels)
    files.write_json(args.out, report)
    print(", ".join(f"{key} {value:.4g}" for key, value in report["metrics"].items()))
