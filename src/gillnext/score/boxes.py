"""Box fidelity: does every requested box hold an object of its class?

For each requested box the IoU with its detection of the same class under the best one-to-one assignment, 0
where there is none. mIoU is the mean over requested boxes and success@0.5 the share at 0.5 or more, so that
an object which is not there costs as much as one in the wrong place.

Letters: N requested boxes, M detections of one image; B requested boxes of all I images; R resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from gillnext import boxes as geometry
from gillnext.instruments.detections import Detections
from gillnext.layouts import Layout
from gillnext.runtime.errors import UserError
from gillnext.score.strata import KINDS
from gillnext.statistics import interval, resamples

HIT = 0.5  # IoU from which a requested box counts as filled
CONFIDENT = 0.4  # detector score from which a detection counts; AP alone sees the less likely ones


@dataclass(frozen=True)
class Requested:
    """What one image was asked to show: `labels` (N,) class ids, `boxes` (N, 4) xyxy in [0, 1].

    `overlaps` (P, 2) are the places of boxes whose overlap is scored; None: of all that overlap.
    """

    labels: np.ndarray
    boxes: np.ndarray
    overlaps: np.ndarray | None = None


def requested(layout: Layout, classes: Sequence[str], where: str = "layout") -> Requested:
    """A layout's boxes with class ids, the places of its names in `classes`; a name that is not among them is a
    `UserError` that tells `where` it stood.
    """
    if unknown := [name for name in layout.names if name not in classes]:
        raise UserError(
            f"no class is called {unknown[0]!r}",
            where=where,
            remedy=f"name one of {'、'.join(classes)}",
        )
    return requested_known(layout, {name: label for label, name in enumerate(classes)})


def requested_known(layout: Layout, labels: Mapping[str, int]) -> Requested:
    """Those of a layout's boxes whose names have a class id in `labels`, and of the pairs that a benchmark names those
    of two such boxes.
    """
    known = [i for i, name in enumerate(layout.names) if name in labels]
    ids = np.array([labels[layout.names[i]] for i in known], dtype=np.int64)
    boxes_N4 = np.asarray([layout.boxes[i] for i in known], dtype=np.float64).reshape(-1, 4)
    if (named := layout.extra.get("overlaps")) is None:
        return Requested(ids, boxes_N4)
    place = {i: n for n, i in enumerate(known)}
    pairs = [(place[i], place[j]) for i, j in named if i in place and j in place]
    return Requested(ids, boxes_N4, np.asarray(pairs, dtype=np.int64).reshape(-1, 2))


def confident(found: Detections, threshold: float = CONFIDENT) -> Detections:
    """The detections with a score of at least `threshold`."""
    kept = found.scores >= threshold
    return Detections(found.boxes[kept], found.labels[kept], found.scores[kept])


def assign(wanted: Requested, found: Detections) -> np.ndarray:
    """IoU of each requested box with its own detection of the same class, (N,); 0 where it has none.

    One-to-one, with the largest sum of IoU a class (Hungarian algorithm), so that repeats of a class are
    allowed.
    """
    ious_N = np.zeros(len(wanted.labels))
    for label in np.unique(wanted.labels):
        rows, columns = np.flatnonzero(wanted.labels == label), np.flatnonzero(found.labels == label)
        table = geometry.iou(wanted.boxes[rows], found.boxes[columns])
        r, c = linear_sum_assignment(table, maximize=True)
        ious_N[rows[r]] = table[r, c]
    return ious_N


def misnamed(wanted: Requested, found: Detections) -> np.ndarray:
    """Right place, wrong class, (N,) bool: a detection of another class at IoU ≥ 0.5 and none of the right
    one.
    """
    near_NM = geometry.iou(wanted.boxes, found.boxes) >= HIT
    same_NM = wanted.labels[:, None] == found.labels[None, :]
    return (near_NM & ~same_NM).any(1) & ~(near_NM & same_NM).any(1)


def shown(wanted: Sequence[Requested], found: Sequence[Detections]) -> dict[str, float]:
    """The share of requested objects of whose class a picture has a detection, wherever; and its chance level, the same
    of the objects that the next picture was asked for. Pictures that were asked for none are passed over.
    """
    asked_of = [(w.labels, f.labels) for w, f in zip(wanted, found, strict=True) if len(w.labels)]
    labels, seen = zip(*asked_of, strict=True)

    def share(asked: Sequence[np.ndarray]) -> float:
        return float(np.concatenate([np.isin(one, here) for one, here in zip(asked, seen, strict=True)]).mean())

    return {"shown": share(labels), "chance_shown": share([*labels[1:], labels[0]])}


def fidelity(wanted: Sequence[Requested], found: Sequence[Detections], classes: Sequence[str]) -> dict[str, Any]:
    """Scores of a set of images: `metrics` (miou, success50, wrong_class), `breakdown`, `per_image`, and n of
    boxes.

    `found` should hold confident detections only: a wealth of unlikely ones would raise every best match.
    """
    ious = [assign(w, f) for w, f in zip(wanted, found, strict=True)]
    wrong = [misnamed(w, f) for w, f in zip(wanted, found, strict=True)]
    every = np.concatenate(ious) if ious else np.zeros(0)
    if not every.size:
        raise UserError("no layout asks for any box", where="layouts", remedy="score layouts that have objects")
    return {
        "boxes": int(every.size),
        "metrics": {
            "miou": float(every.mean()),
            "success50": float((every >= HIT).mean()),
            "wrong_class": float(np.concatenate(wrong).mean()),
        },
        "breakdown": breakdown(wanted, ious, classes),
        "per_image": {
            "boxes": [len(i) for i in ious],
            "hits": [int((i >= HIT).sum()) for i in ious],
            "iou": [round(float(i.sum()), 4) for i in ious],
        },
    }


def breakdown(
    wanted: Sequence[Requested], ious: Sequence[np.ndarray], classes: Sequence[str], intervals: bool = True
) -> dict[str, dict[str, dict[str, Any]]]:
    """Kind of part -> part -> n, mIoU and success@0.5: by stratum (`gillnext.score.strata`), by class of the requested
    box and by the number of boxes in its layout; parts without a box are left out.

    `intervals`: with the 95% bootstrap interval of both over images, the same resamples for every part.
    """
    iou_B, label_B = np.concatenate(ious), np.concatenate([w.labels for w in wanted])
    image_B = np.repeat(np.arange(len(wanted)), [len(i) for i in ious])
    count_B = np.bincount(image_B)[image_B]
    weights_RI = resamples(len(wanted), "breakdown") if intervals else None

    def row(which_B: np.ndarray) -> dict[str, Any]:
        values = {"miou": iou_B[which_B], "success50": iou_B[which_B] >= HIT}
        found: dict[str, Any] = {"n": int(which_B.sum())}
        found |= {metric: round(float(value.mean()), 6) for metric, value in values.items()}
        if weights_RI is not None:
            images = image_B[which_B]
            found["intervals"] = {key: _over_images(weights_RI, images, value) for key, value in values.items()}
        return found

    parts = {"class": {name: label_B == label for label, name in enumerate(classes)}}
    parts["objects"] = {str(count): count_B == count for count in np.unique(count_B)}
    for name, kind in KINDS.items():
        place_B = np.concatenate([kind.place(w.boxes) for w in wanted])
        parts[name] = {part: place_B == place for place, part in enumerate(kind.parts)}
    return {
        kind: {part: row(which_B) for part, which_B in by_part.items() if which_B.any()}
        for kind, by_part in parts.items()
    }


def _over_images(weights_RI: np.ndarray, images: np.ndarray, values: np.ndarray) -> list[float]:
    """95% interval of the mean of boxes' values, `images` the image of each; sums are of whole millionths, so that
    they are exact in any order.
    """
    size = weights_RI.shape[1]
    sums_I = np.bincount(images, np.rint(values * 1e6), size)
    return [round(end / 1e6, 6) for end in interval(weights_RI, sums_I, np.bincount(images, minlength=size))]
