"""The same detections under other published definitions of mIoU and AP, and IoU in the overlap of two boxes.

| metric | definition | source |
|---|---|---|
| `miou_migc` | each box alone: its largest IoU with a detection of its class, from a score of 0.25 | MIGC |
| `miou_lgs` | the same from a score of 0.35, and 0 where it is below 0.5 | InstanceAssemble |
| `miou_overlaybench` | pairs of a class one to one by falling IoU; mean of an image, then of images | OverLayBench |
| `o_miou` | of every two boxes that overlap, IoU of their overlap and that of their detections | OverLayBench |
| `ap_voc` | area under the envelope of precision at IoU 0.5, mean of classes, from a score of 0.25 | MIG-Bench |

Ours (`boxes.fidelity`) and COCO's AP and AP50 (`precision`) stand beside them. MIGC: Zhou et al., 2024,
arXiv:2402.05408, and its MIG-Bench, whose AP is that of VOC (Everingham et al., 2010, IJCV 88; from 2010 on).
InstanceAssemble: Xiang et al., 2025, arXiv:2509.16691 (the spatial Layout Grounding Score). OverLayBench: Li et al.,
2025, arXiv:2509.19282. Each is what its authors' published code does, detectors apart: theirs are Grounding DINO and
Qwen2.5-VL, here it is the evaluator. OverLayBench's layouts name the pairs that O-mIoU is of
(`Requested.overlaps`). The thresholds are theirs; Qwen2.5-VL gives no scores, and the confident detections stand for
its answers.

Letters: N requested boxes, P pairs of them, M detections of an image; I images; K detections of a class in all images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gillnext import boxes as geometry
from gillnext.instruments.detections import Detections
from gillnext.score.boxes import CONFIDENT, HIT, Requested, confident
from gillnext.statistics import bootstrap

MIGC_THRESHOLD, LGS_THRESHOLD = 0.25, 0.35  # of the detector's score


def _of_class(wanted: Requested, found: Detections) -> np.ndarray:
    """(N, M) IoU of boxes and detections, −1 where the classes differ."""
    same_NM = wanted.labels[:, None] == found.labels[None, :]
    return np.where(same_NM, geometry.iou(wanted.boxes, found.boxes), -1.0)


def best(wanted: Requested, found: Detections) -> np.ndarray:
    """(N,) the largest IoU of each box with any detection of its class, 0 where there is none."""
    return _of_class(wanted, found).max(1, initial=0.0)


def greedy(wanted: Requested, found: Detections) -> np.ndarray:
    """(N,) each box's detection, −1 where it has none: pairs of a class by falling IoU, each box and detection once."""
    ious_NM, place_N = _of_class(wanted, found), np.full(len(wanted.labels), -1)
    for row, column in zip(
        *np.unravel_index(np.argsort(-ious_NM, axis=None, kind="stable"), ious_NM.shape), strict=True
    ):
        if ious_NM[row, column] >= 0 and place_N[row] < 0 and column not in place_N:
            place_N[row] = column
    return place_N


def _greedy_boxes(wanted: Requested, found: Detections) -> np.ndarray:
    """(N, 4) the boxes of `greedy`; where there is none, one without area."""
    return np.concatenate([found.boxes.reshape(-1, 4), np.zeros((1, 4))])[greedy(wanted, found)]


def in_overlap(wanted: Requested, found: Detections) -> float:
    """Mean over an image's pairs of boxes that overlap, or those of them that its layout names: IoU of their overlap
    and that of their detections, 0 where one is missing or they do not meet; NaN where no two boxes overlap.
    """
    places = tuple(np.triu_indices(len(wanted.boxes), 1) if wanted.overlaps is None else wanted.overlaps.T)
    asked_P4 = _intersections(wanted.boxes, places)
    overlap_P = (asked_P4[:, :2] < asked_P4[:, 2:]).all(1)
    if not overlap_P.any():
        return float("nan")
    seen_P4 = _intersections(_greedy_boxes(wanted, found), places)
    return float(geometry.iou(asked_P4[overlap_P], seen_P4[overlap_P]).diagonal().mean())


def _intersections(boxes_N4: np.ndarray, pairs: Sequence[np.ndarray]) -> np.ndarray:
    """(P, 4) what the two boxes of each pair have in common; reversed where they do not meet, and then of no area."""
    first, second = (boxes_N4[places] for places in pairs)
    return np.concatenate([np.maximum(first[:, :2], second[:, :2]), np.minimum(first[:, 2:], second[:, 2:])], axis=1)


def o_miou(wanted: Sequence[Requested], found: Sequence[Detections]) -> np.ndarray:
    """(I,) `in_overlap` of the images that have boxes which overlap."""
    values = np.array([in_overlap(w, f) for w, f in zip(wanted, found, strict=True)])
    return values[~np.isnan(values)]


def voc_ap(wanted: Sequence[Requested], found: Sequence[Detections]) -> float:
    """Mean over the classes that are asked for of the area under the curve of precision over recall."""
    labels = np.unique(np.concatenate([w.labels for w in wanted]))
    return float(np.mean([_area(*_hits(wanted, found, label)) for label in labels]))


def _hits(wanted: Sequence[Requested], found: Sequence[Detections], label: int) -> tuple[np.ndarray, int]:
    """(K,) whether each detection of a class, by falling score, is a hit; and how many boxes ask for the class.

    A detection belongs to the box that it overlaps most, and hits at IoU 0.5 or more if none before it has.
    """
    scores, hits, asked = [], [], 0
    for w, f in zip(wanted, found, strict=True):
        mine, wanting = np.flatnonzero(f.labels == label), w.boxes[w.labels == label]
        asked, taken = asked + len(wanting), set()
        if not len(mine):
            continue
        mine = mine[np.argsort(-f.scores[mine], kind="stable")]
        table = geometry.iou(f.boxes[mine], wanting)
        for detection, row in zip(mine, table, strict=True):
            nearest = int(row.argmax()) if len(row) else -1
            hit = nearest >= 0 and row[nearest] >= HIT and nearest not in taken
            taken |= {nearest} if hit else set()
            scores.append(f.scores[detection])
            hits.append(hit)
    order = np.argsort(-np.array(scores), kind="stable")
    return np.array(hits, dtype=bool)[order], asked


def _area(hits_K: np.ndarray, asked: int) -> float:
    """Area under the envelope of precision: at each recall the highest precision there or beyond."""
    right_K = np.cumsum(hits_K)
    precision_K = right_K / np.arange(1, len(hits_K) + 1)
    envelope_K = np.maximum.accumulate(precision_K[::-1])[::-1]
    return float(envelope_K[hits_K].sum() / asked)


def scores(wanted: Sequence[Requested], found: Sequence[Detections], counting: float = CONFIDENT) -> dict[str, float]:
    """mIoU and AP of a set of images by the other definitions; `found` with all its scores, likely or not. `counting`:
    the score from which a detection stands for an answer without scores.
    """
    likely, likelier, kept = ([confident(f, t) for f in found] for t in (MIGC_THRESHOLD, LGS_THRESHOLD, counting))
    migc, lgs = (np.concatenate([best(w, f) for w, f in zip(wanted, fs, strict=True)]) for fs in (likely, likelier))
    by_image = [
        geometry.iou(w.boxes, _greedy_boxes(w, f)).diagonal().mean()
        for w, f in zip(wanted, kept, strict=True)
        if len(w.boxes)
    ]
    return {
        "miou_migc": float(migc.mean()),
        "miou_lgs": float(np.where(lgs >= HIT, lgs, 0.0).mean()),
        "miou_overlaybench": float(np.mean(by_image)),
        "ap_voc": voc_ap(wanted, likely),
    }


def overlap(
    wanted: Sequence[Requested], redrawn: Sequence[Sequence[Requested]], found: Sequence[Detections]
) -> dict[str, dict[str, Any]]:
    """O-mIoU, mean over images, and its chance level by redrawn boxes that overlap: `metrics`, `counts` of images, and
    `intervals` (95%, bootstrap over images); empty where no boxes overlap. `found`: confident detections.
    """
    inside_I, by_chance = o_miou(wanted, found), np.concatenate([o_miou(boxes, found) for boxes in redrawn])
    known = {name: values for name, values in (("o_miou", inside_I), ("chance_o_miou", by_chance)) if len(values)}
    return {
        "metrics": {name: float(values.mean()) for name, values in known.items()},
        "counts": {name: len(values) for name, values in known.items()},
        "intervals": {"o_miou": _over_images(inside_I)} if len(inside_I) else {},
    }


def _over_images(values_I: np.ndarray) -> list[float]:
    return [round(end, 6) for end in bootstrap(values_I[None], np.ones(len(values_I)), "o_miou")]
