"""How well annotated boxes agree with those that a person has drawn (`labels`), over the images that were looked at.

Boxes of one name are matched one to one, so that the sum of IoUs is largest. Precision is the share of annotated boxes
that are matched at an IoU of 0.5 or more, recall that of the drawn boxes, mIoU the mean over drawn boxes, 0 where there
is none. Intervals are percentiles of 1000 resamples of images, as boxes of one image are not independent.

A person who corrects shown boxes leaves small errors as they are: the scores flatter the annotator a little.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from gillnext import boxes, layouts, statistics
from gillnext.annotate import labels
from gillnext.layouts import Layout
from gillnext.runtime.errors import UserError

AT = 0.5
PROTOCOL = (
    "boxes of one name matched one to one by IoU; precision and recall at IoU 0.5, mIoU over drawn boxes with 0 for "
    "those missed; 95% percentile intervals over resampled images"
)


def matched(found: Layout, truth: Layout) -> list[float]:
    """IoU of each drawn box with the annotated one of its name that it is matched to, 0 where there is none."""
    overlaps = [0.0] * len(truth.names)
    for name in set(truth.names):
        rows = [i for i, n in enumerate(truth.names) if n == name]
        columns = [i for i, n in enumerate(found.names) if n == name]
        table = boxes.iou(np.array([truth.boxes[i] for i in rows]), np.array([found.boxes[i] for i in columns]))
        for a, b in zip(*linear_sum_assignment(-table), strict=True):
            overlaps[rows[a]] = float(table[a, b])
    return overlaps


def compare(sources: Sequence[Path], table: Path) -> dict[str, Any]:
    """Scores of the layouts in the files `sources` against the drawn boxes of the CSV `table`, as `score` gives them.

    One pass over the layouts; those of other images are not kept.
    """
    truth = labels.read(table)
    found: dict[str, Layout] = {}
    for row in (row for source in sources for row in layouts.stream(source)):
        if row.image_path in truth:
            found.setdefault(row.image_path, row)
    return score(found, truth, table)


def score(found: Mapping[str, Layout], truth: Mapping[str, Layout], where: Path | str = "") -> dict[str, Any]:
    """Scores of the annotated layouts `found` against `truth`, both by image: metrics, intervals, counts of boxes.

    A metric without a box to count is None. Raises `UserError` where an image of `truth` is not annotated.
    """
    if strange := [image for image in truth if image not in found]:
        raise UserError(
            f"{len(strange)} images are in no layout: {strange[0]}",
            where=f"{where}, line {truth[strange[0]].extra.get('line', '?')}" if where else "",
            remedy="name the layouts that the images were drawn from, or delete these rows",
        )
    overlaps = [matched(found[image], truth[image]) for image in truth]
    hits = np.array([float(sum(v >= AT for v in row)) for row in overlaps])
    total = np.array([sum(row) for row in overlaps])
    annotated = np.array([float(len(found[image].names)) for image in truth])
    drawn = np.array([float(len(truth[image].names)) for image in truth])
    sums = {
        "annotation_precision": (hits, annotated),
        "annotation_recall": (hits, drawn),
        "annotation_miou": (total, drawn),
    }
    weights = statistics.resamples(len(truth), "labels")
    known = {name: pair for name, pair in sums.items() if pair[1].sum()}
    return {
        "n": len(truth),
        "boxes": {"annotated": int(annotated.sum()), "drawn": int(drawn.sum())},
        "metrics": {n: float(sums[n][0].sum() / sums[n][1].sum()) if n in known else None for n in sums},
        "counts": {n: int(sums[n][1].sum()) for n in known},
        "intervals": {n: list(statistics.interval(weights, *pair)) for n, pair in known.items()},
        "protocol": {"annotation": PROTOCOL},
    }
