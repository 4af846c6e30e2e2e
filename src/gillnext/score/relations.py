"""Spatial relations end to end: does the picture show what the caption says of left, right, above and below?

As in VISOR (Gokhale et al., 2022, arXiv:2212.10015): objects are detected, and a relation holds or fails by
the centres of their boxes. A relation with an object that is not found counts as failed
(`relation_accuracy`), and is left out of `relation_accuracy_present`. Relations without a second object are
about the image's centre.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gillnext import boxes as geometry
from gillnext.instruments.detections import Detections
from gillnext.layouts import Layout
from gillnext.relations import CENTRE, Point, Stated, holds, stated
from gillnext.runtime.errors import UserError
from gillnext.score.boxes import requested


def positions(labels: np.ndarray, found: Detections) -> list[Point | None]:
    """Centre of the most confident detection of each label, None where the class was not found."""
    points: list[Point | None] = []
    for label in labels:
        mine = np.flatnonzero(found.labels == label)
        if len(mine):
            best = mine[np.argmax(found.scores[mine])]
            x, y = geometry.centres(found.boxes[best])[0]
            points.append((float(x), float(y)))
        else:
            points.append(None)
    return points


def check(relations: Stated, points: Sequence[Point | None]) -> list[bool | None]:
    """Whether each relation holds between the objects' centres; None where an object is missing."""
    verdicts: list[bool | None] = []
    for subject, relation, reference in relations:
        a, b = points[subject], CENTRE if reference is None else points[reference]
        verdicts.append(None if a is None or b is None else holds(relation, a, b))
    return verdicts


def accuracy(
    captions: Sequence[Layout],
    found: Sequence[Detections],
    classes: Sequence[str],
    where: str = "layouts",
    known: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Scores over all relations of all captions: `metrics`, n of relations and objects, `breakdown` and
    `per_image`. `known`: class ids by name, of an open evaluator; relations of other objects are left out.
    """
    verdicts: list[list[bool | None]] = []
    kinds: list[str] = []
    present = objects = 0
    for n, (layout, detections) in enumerate(zip(captions, found, strict=True), 1):
        place = f"{where}, line {n}"
        if known is None:
            points = positions(requested(layout, classes, place).labels, detections)
        else:
            points = positions(np.array([known.get(name, -1) for name in layout.names]), detections)
        relations = stated(layout, place)
        if known is not None:
            relations = [one for one in relations if all(layout.names[k] in known for k in one[::2] if k is not None)]
            objects -= sum(name not in known for name in layout.names)
        verdicts.append(check(relations, points))
        kinds += [relation for _, relation, _ in relations]
        present, objects = present + sum(p is not None for p in points), objects + len(points)
    every = [v for row in verdicts for v in row]
    if not every:
        raise UserError("no caption states a relation", where=where, remedy='rows need "relations"')
    held, seen = sum(v is True for v in every), sum(v is not None for v in every)
    return {
        "n_relations": len(every),
        "n_objects": objects,
        "metrics": {
            "n_relations": len(every),
            "relation_accuracy": held / len(every),
            "relation_accuracy_present": held / seen if seen else 0.0,
            "object_recall": present / objects,
            "all_relations_accuracy": float(np.mean([all(v is True for v in row) for row in verdicts if row])),
        },
        "breakdown": {"relation": _by_kind(every, kinds)},
        "per_image": {
            "relations": [len(v) for v in verdicts],
            "held": [sum(x is True for x in v) for v in verdicts],
        },
    }


def _by_kind(verdicts: list[bool | None], kinds: list[str]) -> dict[str, dict[str, float]]:
    table: dict[str, dict[str, float]] = {}
    for kind in sorted(set(kinds)):
        mine = [v is True for v, k in zip(verdicts, kinds, strict=True) if k == kind]
        table[kind] = {"n": len(mine), "relation_accuracy": round(sum(mine) / len(mine), 6)}
    return table
