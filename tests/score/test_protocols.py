"""Other definitions of mIoU and AP, and O-mIoU, against plain loops that follow their authors' descriptions."""

from itertools import pairwise

import numpy as np
import pytest
from test_box_fidelity import found, wanted
from test_independent_metrics import scattered
from test_strata import area, common

from gillnext.score import boxes, precision, protocols
from gillnext.score.boxes import confident


def overlap_of(a, b):
    return common(a, b) / (area(a) + area(b) - common(a, b))


def answers(f, label, threshold):
    """(score, box) of a class from a score on, in the order of the detector."""
    rows = zip(f.boxes.tolist(), f.labels, f.scores, strict=True)
    return [(score, box) for box, k, score in rows if k == label and score >= threshold]


def migc(want, have, threshold, least):
    """Every box by itself; below `least` nothing."""
    values = []
    for w, f in zip(want, have, strict=True):
        for box, label in zip(w.boxes.tolist(), w.labels, strict=True):
            best = max([overlap_of(box, other) for _, other in answers(f, label, threshold)], default=0.0)
            values.append(best if best >= least else 0.0)
    return sum(values) / len(values)


def pairs_of(w, f):
    """Box -> its detection, class by class: the pair of largest IoU first, then the next among what is left."""
    found = {}
    for label in set(w.labels.tolist()):
        mine = [i for i, k in enumerate(w.labels) if k == label]
        left = [box for _, box in answers(f, label, 0.4)]
        while mine and left:
            value, i, box = max(
                ((overlap_of(w.boxes[i], box), i, box) for i in mine for box in left), key=lambda x: x[0]
            )
            found[i] = (value, box)
            mine.remove(i)
            left.remove(box)
    return found


def overlaybench(want, have):
    by_image = []
    for w, f in zip(want, have, strict=True):
        matched = pairs_of(w, f)
        by_image.append(sum(matched[i][0] if i in matched else 0.0 for i in range(len(w.labels))) / len(w.labels))
    return sum(by_image) / len(by_image)


def inside(a, b):
    """What two boxes share, as a box; None where it has no area."""
    box = [max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])]
    return box if box[0] < box[2] and box[1] < box[3] else None


def o_miou(want, have):
    """The mean of every image that has two boxes which overlap."""
    by_image = []
    for w, f in zip(want, have, strict=True):
        matched, values = pairs_of(w, f), []
        for i in range(len(w.labels)):
            for j in range(i):
                asked = inside(w.boxes[i], w.boxes[j])
                both = i in matched and j in matched
                seen = inside(matched[i][1], matched[j][1]) if both else None
                values += [overlap_of(asked, seen) if seen else 0.0] if asked else []
        by_image += [sum(values) / len(values)] if values else []
    return by_image


def voc(want, have):
    """Detections from 0.25 by falling score; each tries the box that it overlaps most, and a taken one is a miss."""
    areas = []
    for label in sorted({int(k) for w in want for k in w.labels}):
        rows = [(score, i, box) for i, f in enumerate(have) for score, box in answers(f, label, 0.25)]
        total = sum(int((w.labels == label).sum()) for w in want)
        taken, right, curve = set(), 0, []
        for n, (_, i, box) in enumerate(sorted(rows, key=lambda row: -row[0]), 1):
            truths = [(overlap_of(box, t), k) for k, t in enumerate(want[i].boxes) if want[i].labels[k] == label]
            value, k = max(truths, default=(0.0, -1))
            hit = value >= 0.5 and (i, k) not in taken
            taken |= {(i, k)} if hit else set()
            right += hit
            curve.append((right / total, right / n))
        steps = pairwise([0.0, *sorted({r for r, _ in curve})])
        areas.append(sum((b - a) * max(p for r, p in curve if r >= b) for a, b in steps))
    return sum(areas) / len(areas)


@pytest.mark.parametrize("seed", range(5))
def test_each_definition_is_the_one_written_out(seed):
    want, have = scattered(seed)
    scores = protocols.scores(want, have)
    assert scores["miou_migc"] == pytest.approx(migc(want, have, 0.25, 0.0))
    assert scores["miou_lgs"] == pytest.approx(migc(want, have, 0.35, 0.5))
    assert scores["miou_overlaybench"] == pytest.approx(overlaybench(want, have))
    assert scores["ap_voc"] == pytest.approx(voc(want, have))
    ours = boxes.fidelity(want, [confident(f) for f in have], list("abc"))["metrics"]["miou"]
    coco = precision.average_precision(want, have)
    values = [ours, *scores.values(), *coco.values()]
    assert all(abs(a - b) > 1e-4 for i, a in enumerate(values) for b in values[:i])  # no two are the same thing


@pytest.mark.parametrize("seed", range(5))
def test_iou_in_the_overlap_is_the_one_written_out(seed):
    want, have = scattered(seed, images=80)
    have = [confident(f) for f in have]
    found, expected = protocols.overlap(want, [want, want[::-1]], have), o_miou(want, have)
    assert found["metrics"]["o_miou"] == pytest.approx(np.mean(expected))
    assert found["counts"] == {"o_miou": len(expected), "chance_o_miou": 2 * len(expected)}
    by_chance = expected + o_miou(want[::-1], have)
    assert found["metrics"]["chance_o_miou"] == pytest.approx(np.mean(by_chance))
    low, high = found["intervals"]["o_miou"]
    assert low < np.mean(expected) < high


LEFT, RIGHT = (0.1, 0.1, 0.5, 0.5), (0.3, 0.1, 0.7, 0.5)  # share (0.3, 0.1, 0.5, 0.5)


@pytest.mark.parametrize(
    ("detections", "value"),
    [
        ([(0, LEFT, 1), (1, RIGHT, 1)], 1.0),
        ([(0, LEFT, 1), (1, (0.4, 0.1, 0.8, 0.5), 1)], 0.5),  # of the overlap the right half is left
        ([(0, LEFT, 1), (1, (0.6, 0.1, 0.9, 0.5), 1)], 0.0),  # drawn apart
        ([(0, LEFT, 1)], 0.0),
        ([(1, LEFT, 1), (0, RIGHT, 1)], 1.0),  # swapped: the overlap is there, the boxes are not
    ],
)
def test_the_overlap_of_two_boxes_worked_out_by_hand(detections, value):
    assert protocols.in_overlap(wanted((0, LEFT), (1, RIGHT)), found(*detections)) == pytest.approx(value)


def test_without_boxes_that_overlap_there_is_no_score_of_overlaps():
    alone = wanted((0, LEFT)), wanted((0, LEFT), (1, (0.5, 0.5, 0.9, 0.9)))  # the second two touch in a corner
    assert protocols.overlap(alone, [alone], [found((0, LEFT, 1))] * 2) == {
        "metrics": {},
        "counts": {},
        "intervals": {},
    }


def test_best_pairs_first_and_each_once():
    """Where the best sum crosses, the published matching does not; MIGC lets one detection serve two boxes."""
    want = wanted((0, (0.0, 0, 0.4, 0.4)), (0, (0.1, 0, 0.5, 0.4)))
    have = found((0, (0.02, 0, 0.42, 0.4), 1), (0, (0.0, 0, 0.25, 0.4), 1))
    assert protocols.greedy(want, have).tolist() == [0, 1]
    assert protocols.best(want, have).tolist() == pytest.approx([0.38 / 0.42, 0.32 / 0.48])
    assert boxes.assign(want, have).tolist() == pytest.approx([0.25 / 0.4, 0.32 / 0.48])


def test_no_detections_score_zero_everywhere():
    assert set(protocols.scores([wanted((0, LEFT))], [found()]).values()) == {0.0}
