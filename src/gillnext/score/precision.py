"""Average precision of box detections: COCO's AP and AP50, by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from gillnext.instruments.detections import Detections
from gillnext.score.boxes import Requested


def _xywh(box: np.ndarray) -> list[float]:
    x1, y1, x2, y2 = (float(v) * 1000 for v in box)
    return [x1, y1, x2 - x1, y2 - y1]


def average_precision(wanted: Sequence[Requested], found: Sequence[Detections]) -> dict[str, float]:
    """COCO AP (mean over IoU 0.50:0.05:0.95 and classes) and AP50; `found` with all its scores, likely or
    not.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    answers = [
        {"image_id": i, "category_id": int(label), "bbox": _xywh(box), "score": float(score)}
        for i, f in enumerate(found)
        for box, label, score in zip(f.boxes, f.labels, f.scores, strict=True)
    ]
    if not answers:
        return {"ap": 0.0, "ap50": 0.0}
    truth: list[dict[str, Any]] = [
        {"image_id": i, "category_id": int(label), "bbox": _xywh(box), "iscrowd": 0}
        for i, w in enumerate(wanted)
        for box, label in zip(w.boxes, w.labels, strict=True)
    ]
    for number, row in enumerate(truth, 1):  # pycocotools takes id 0 for "unmatched"
        row |= {"id": number, "area": row["bbox"][2] * row["bbox"][3]}
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "info": {},
            "images": [{"id": i} for i in range(len(wanted))],
            "categories": [{"id": label} for label in sorted({row["category_id"] for row in truth})],
            "annotations": truth,
        }
        coco.createIndex()
        result = COCOeval(coco, coco.loadRes(answers), "bbox")
        result.evaluate()
        result.accumulate()
        result.summarize()
    return {"ap": float(result.stats[0]), "ap50": float(result.stats[1])}
