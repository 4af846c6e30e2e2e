"""How good planned layouts are: do the stated relations hold, are all objects there, how near are they to the truth.

Relations are [subject, left|right|above|below, reference] with indices into the truth's objects, reference None for the
image's centre; they are checked between planned box centres with no margin (VISOR's rule, Gokhale et al. 2022).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from gillnext import boxes
from gillnext.layouts import Layout
from gillnext.relations import CENTRE, holds, stated
from gillnext.runtime.errors import UserError


def relations_hold(plan: Layout | None, truth: Layout) -> list[bool]:
    """For each stated relation whether it holds in `plan`; a missing object fails, of several the first counts."""
    relations = stated(truth, truth.id)
    if not relations:
        raise UserError("no relations to check", where=truth.id, remedy='give "relations": [[0, "left", 1]]')
    if plan is None:
        return [False] * len(relations)
    place: dict[str, tuple[float, float]] = {}
    for name, (x, y) in zip(plan.names, boxes.centres(np.array(plan.boxes)), strict=True):
        place.setdefault(name, (float(x), float(y)))

    def check(subject: str, relation: str, reference: str | None) -> bool:
        if subject not in place or (reference is not None and reference not in place):
            return False
        return holds(relation, place[subject], CENTRE if reference is None else place[reference])

    names = truth.names
    return [check(names[s], r, None if o is None else names[o]) for s, r, o in relations]


def matched_iou(plan: Layout | None, truth: Layout) -> list[float]:
    """IoU of each true object with the planned one of its name (one to one, 0 where there is none)."""
    found = [0.0] * len(truth.names)
    if plan is None:
        return found
    for name in set(truth.names):
        rows = [i for i, n in enumerate(truth.names) if n == name]
        columns = [i for i, n in enumerate(plan.names) if n == name]
        if columns:
            table = boxes.iou(np.array([truth.boxes[i] for i in rows]), np.array([plan.boxes[i] for i in columns]))
            for a, b in zip(*linear_sum_assignment(-table), strict=True):
                found[rows[a]] = float(table[a, b])
    return found


def score(plans: Sequence[Layout | None], truths: Sequence[Layout]) -> dict[str, float]:
    """spatial_accuracy, relation_accuracy, count_accuracy and miou, each in [0, 1].

    Spatial accuracy is the share of captions all of whose relations hold; count accuracy that of plans with the truth's
    names, each as often. A plan is None where an answer did not parse; it fails in every score.
    """
    holds = [relations_hold(p, t) for p, t in zip(plans, truths, strict=True)]
    same = [p is not None and Counter(p.names) == Counter(t.names) for p, t in zip(plans, truths, strict=True)]
    overlap = [v for p, t in zip(plans, truths, strict=True) for v in matched_iou(p, t)]
    return {
        "spatial_accuracy": float(np.mean([all(row) for row in holds])),
        "relation_accuracy": float(np.mean([v for row in holds for v in row])),
        "count_accuracy": float(np.mean(same)),
        "miou": float(np.mean(overlap)),
    }
