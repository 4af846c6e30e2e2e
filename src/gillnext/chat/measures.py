"""What conversations are scored by, as functions of sets, ranks and detections; no model is needed here.

Every score is a `Share`: of N rows (captions, pictures, boxes of a picture) so much of so much, so that each has its
interval, and two ways of drawing the same rows their paired difference.

Letters: N rows, Q queries, E width of embeddings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import numpy as np

from gillnext.instruments.detections import Detections
from gillnext.layouts import Layout
from gillnext.relations import CENTRE, holds, stated
from gillnext.score import boxes, relations
from gillnext.score.boxes import Requested
from gillnext.statistics import interval, resamples, wilson

QUERIES = 512  # that are compared with all rows at once
RECALLS = (1, 5, 10)


@dataclass(frozen=True)
class Share:
    """`right` (N,) of `of` (N,), row by row; its value is the ratio of the sums."""

    right: np.ndarray
    of: np.ndarray

    @property
    def value(self) -> float | None:
        """None where there is nothing to be right of."""
        total = float(self.of.sum())
        return float(self.right.sum()) / total if total else None

    def interval(self) -> list[float] | None:
        """95%, bootstrap over rows, seeded by their number: the same resamples for every score of as many rows."""
        if self.value is None:
            return None
        ends = interval(resamples(len(self.of), "conversations"), self.right.astype(float), self.of.astype(float))
        return [round(end, 6) for end in ends]

    def minus(self, other: Share) -> dict[str, Any]:
        """The paired difference of two scores of the same rows, with its 95% interval over the same resamples."""
        if self.value is None or other.value is None:
            return {"value": None, "interval": None}
        weights = resamples(len(self.of), "conversations")
        with np.errstate(invalid="ignore", divide="ignore"):
            parts = [(weights @ s.right) / (weights @ s.of) for s in (self, other)]
        ends = np.nanquantile(parts[0] - parts[1], [0.025, 0.975])
        return {"value": round(self.value - other.value, 6), "interval": [round(float(end), 6) for end in ends]}


def group(shares: Mapping[str, Share], **more: Any) -> dict[str, Any]:
    """Scores as a part of a score file: n of rows, `metrics`, `intervals`, `counts` of what each is a share of."""
    known = {name: share for name, share in shares.items() if share.value is not None}
    return {
        "n": max((len(share.of) for share in shares.values()), default=0),
        "metrics": {name: round(float(share.value or 0.0), 6) for name, share in known.items()},
        "intervals": {name: share.interval() for name, share in known.items()},
        "counts": {name: float(share.of.sum()) for name, share in known.items()},
        **more,
    }


def classes(wanted: Sequence[AbstractSet[Any]], found: Sequence[AbstractSet[Any]]) -> dict[str, Share]:
    """How well sets are found: `recall` and `precision` of all their members, `f1`, the mean over rows of the F1 of the
    two sets (1 where both are empty), and `extra`, members that were not wanted, a row.
    """
    both = np.array([len(w & f) for w, f in zip(wanted, found, strict=True)], dtype=float)
    asked, seen = (np.array([len(one) for one in sets], dtype=float) for sets in (wanted, found))
    total, rows = asked + seen, np.ones(len(both))
    f1 = np.divide(2 * both, total, out=np.ones_like(both), where=total > 0)
    return {
        "recall": Share(both, asked), "precision": Share(both, seen), "f1": Share(f1, rows),
        "extra": Share(seen - both, rows),
    }  # fmt: skip


def chance_recall(wanted: Sequence[AbstractSet[Any]], found: Sequence[AbstractSet[Any]]) -> float | None:
    """The recall of what the next row wants, the first again after the last: of pictures that are about others."""
    return classes([*wanted[1:], *wanted[:1]], found)["recall"].value


def ranks(queries_QE: np.ndarray, rows_NE: np.ndarray, own: Sequence[int]) -> np.ndarray:
    """(Q,) the rank of each query's `own` row by dot product, from 1 on. Rows that are equal to it stand before it, so
    that embeddings that are all alike are no success.
    """
    found = []
    for i in range(0, len(queries_QE), QUERIES):
        scores = queries_QE[i : i + QUERIES] @ rows_NE.T  # (q, N)
        mine = scores[np.arange(len(scores)), list(own[i : i + QUERIES])]
        found.append((scores >= mine[:, None]).sum(1))
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def recalls(ranks_Q: np.ndarray, rows: int) -> dict[str, Any]:
    """R@1, R@5 and R@10 of ranks among `rows`, with Wilson's intervals, and their chance: k of `rows`, exactly."""
    n = len(ranks_Q)
    values = {f"r{k}": float((ranks_Q <= k).mean()) for k in RECALLS}
    return {
        "n": n, "rows": rows, "metrics": {name: round(value, 6) for name, value in values.items()},
        "intervals": {name: wilson(value, n) for name, value in values.items()},
        "chance": {f"r{k}": round(min(k / rows, 1.0), 6) for k in RECALLS},
    }  # fmt: skip


def success(wanted: Sequence[Requested], found: Sequence[Detections]) -> Share:
    """success@0.5: the requested boxes that hold a detection of their class at IoU 0.5 (`score.boxes.assign`)."""
    ious = [boxes.assign(w, f) for w, f in zip(wanted, found, strict=True)]
    return Share(np.array([(i >= boxes.HIT).sum() for i in ious], float), np.array([len(i) for i in ious], float))


def shuffled(wanted: Sequence[Requested]) -> list[Requested]:
    """The same classes in the boxes of the next picture that was asked for as many objects, the first after the last;
    nothing where no other was. Their `success` is the chance level of pictures that know nothing of their boxes.
    """
    found = [Requested(np.zeros(0, np.int64), np.zeros((0, 4)))] * len(wanted)
    for count in {len(w.labels) for w in wanted}:
        own = [i for i, w in enumerate(wanted) if len(w.labels) == count]
        for i, other in zip(own, own[1:] + own[:1], strict=True):
            if i != other:
                found[i] = Requested(wanted[i].labels, wanted[other].boxes)
    return found


def told(truths: Sequence[Layout], found: Sequence[Detections], labels: Mapping[str, int]) -> dict[str, Share]:
    """`relations`: those told of each picture that hold between what is found in it (`score.relations`), one with a
    missing object failing; `present`: of the same, both objects found; those of names without a class are left out.
    """
    held, seen, of = (np.zeros(len(truths)) for _ in range(3))
    for i, (truth, detections) in enumerate(zip(truths, found, strict=True)):
        points = relations.positions(np.array([labels.get(name, -1) for name in truth.names]), detections)
        asked = [r for r in stated(truth) if all(truth.names[k] in labels for k in r[::2] if k is not None)]
        verdicts = relations.check(asked, points)
        held[i], of[i] = sum(v is True for v in verdicts), len(verdicts)
        seen[i] = sum(v is not None for v in verdicts)
    return {"relations": Share(held, of), "present": Share(seen, of)}


def chance_relations(present: Share) -> float | None:
    """Half of the relations whose objects are both found: of a relation and its opposite one holds."""
    return None if present.value is None else present.value / 2


def relations_of(
    stated_: Sequence[Sequence[tuple[str, str, str | None]]], truths: Sequence[Layout], margin: float = 0.0
) -> Share:
    """Of the relations that captions state, as (name, relation, name or None), those that hold between the true boxes;
    one of an object that is not there fails.
    """
    right, of = np.zeros(len(truths)), np.zeros(len(truths))
    for i, (relations_, truth) in enumerate(zip(stated_, truths, strict=True)):
        places = {n: ((b[0] + b[2]) / 2, (b[1] + b[3]) / 2) for n, b in zip(truth.names, truth.boxes, strict=True)}
        of[i] = len(relations_)
        for subject, relation, reference in relations_:
            a, b = places.get(subject), CENTRE if reference is None else places.get(reference)
            right[i] += a is not None and b is not None and holds(relation, a, b, margin)
    return Share(right, of)
