"""Scores of conversations against counting by hand and brute force."""

import itertools
import math
import random

import numpy as np
import pytest

from gillnext.boxes import iou
from gillnext.chat import measures
from gillnext.chat.measures import Share
from gillnext.instruments.detections import Detections
from gillnext.layouts import Layout
from gillnext.score.boxes import Requested

A, B, C, D = (0.0, 0.0, 0.4, 0.4), (0.5, 0.5, 0.9, 0.9), (0.1, 0.5, 0.5, 0.9), (0.5, 0.0, 0.9, 0.4)


def seen(*rows):
    """Detections of (label, box) with falling scores."""
    scores = np.linspace(0.9, 0.5, len(rows))
    return Detections(np.array([r[1] for r in rows], float).reshape(-1, 4), np.array([r[0] for r in rows], int), scores)


def asked(*rows):
    return Requested(np.array([r[0] for r in rows], int), np.array([r[1] for r in rows], float).reshape(-1, 4))


def test_found_classes_are_counted_over_all_rows_and_f1_row_by_row():
    wanted, found = [{1, 2, 3}, {4}, set(), set()], [{1, 2, 9}, set(), {5}, set()]
    scores = measures.classes(wanted, found)
    assert scores["recall"].value == 2 / 4 and scores["precision"].value == 2 / 4
    assert scores["extra"].value == 2 / 4  # 9 and 5, of four rows
    assert scores["f1"].value == pytest.approx((2 * 2 / 6 + 0 + 0 + 1) / 4)
    assert measures.chance_recall([{1}, {2}, {3}], [{2}, {2, 3}, {9}]) == 2 / 3
    assert measures.classes([set()], [set()])["recall"].value is None


def test_ranks_are_those_of_sorting_and_equal_rows_stand_before():
    rng = random.Random(4)
    rows = np.array([[rng.randint(-3, 3) for _ in range(3)] for _ in range(25)], float)
    queries = np.array([[rng.randint(-3, 3) for _ in range(3)] for _ in range(25)], float)
    expected = []
    for i, query in enumerate(queries.tolist()):
        scores = [math.fsum(a * b for a, b in zip(query, row, strict=True)) for row in rows.tolist()]
        expected.append(max(k for k, s in enumerate(sorted(scores, reverse=True), 1) if s == scores[i]))
    assert measures.ranks(queries, rows, range(25)).tolist() == expected
    assert measures.ranks(np.ones((2, 3)), np.ones((7, 3)), [0, 6]).tolist() == [7, 7]


def test_recalls_and_their_chance_are_exact():
    scores = measures.recalls(np.array([1, 1, 3, 5, 6, 10, 11, 200]), 500)
    assert scores["metrics"] == {"r1": 2 / 8, "r5": 4 / 8, "r10": 6 / 8}
    assert scores["chance"] == {"r1": 1 / 500, "r5": 5 / 500, "r10": 10 / 500}
    # Wilson's interval of 4 of 8 by its formula.
    z, n, p = 1.959964, 8, 0.5
    middle, half = (
        (p + z * z / 2 / n) / (1 + z * z / n),
        z * math.sqrt(p * (1 - p) / n + z * z / 4 / n / n) / (1 + z * z / n),
    )
    assert scores["intervals"]["r5"] == pytest.approx([middle - half, middle + half], abs=1e-5)
    assert measures.recalls(np.array([1, 2]), 3)["chance"]["r5"] == 1.0


def test_success_is_the_best_pairing_of_boxes_and_detections():
    wanted = [asked((1, A), (1, B), (2, C)), asked((3, A))]
    found = [seen((1, B), (1, (0.0, 0.0, 0.4, 0.3)), (2, D)), seen((2, A))]
    share = measures.success(wanted, found)
    assert share.right.tolist() == [2, 0] and share.of.tolist() == [3, 1]
    # Brute force over all pairings of random ones.
    rng = np.random.default_rng(3)
    for _ in range(20):
        corners = rng.uniform(0, 0.5, (7, 2))
        drawn = np.concatenate([corners, corners + rng.uniform(0.3, 0.5, (7, 2))], axis=1)
        w, f = asked(*((0, box) for box in drawn[:3])), seen(*((0, box) for box in drawn[3:]))
        table = iou(w.boxes, f.boxes)
        best = max(itertools.permutations(range(4), 3), key=lambda p: sum(table[i, j] for i, j in enumerate(p)))
        assert measures.success([w], [f]).right[0] == sum(table[i, j] >= 0.5 for i, j in enumerate(best))


def test_chance_boxes_are_the_next_pictures_of_as_many_objects():
    wanted = [asked((1, A), (2, B)), asked((3, C)), asked((4, C), (5, D)), asked((6, A), (7, A), (8, A)), asked((9, D))]
    found = measures.shuffled(wanted)
    assert [w.labels.tolist() for w in found] == [[1, 2], [3], [4, 5], [], [9]]
    assert [w.boxes.tolist() for w in found[:3]] == [[list(C), list(D)], [list(D)], [list(A), list(B)]]
    assert found[4].boxes.tolist() == [list(C)]


def test_told_relations_hold_between_what_is_found():
    truth = Layout("…", ("猫", "树", "星"), (A, B, C), extra={"relations": [
        [0, "left", 1], [0, "below", 1], [1, "right", None], [2, "left", 0],
    ]})  # fmt: skip
    labels = {"猫": 0, "树": 1}
    both, one = seen((0, A), (1, B), (1, A)), seen((0, A))
    scores = measures.told([truth, truth], [both, one], labels)
    # The star has no class; of the trees the most confident counts.
    assert scores["relations"].right.tolist() == [2, 0] and scores["relations"].of.tolist() == [3, 3]
    assert scores["present"].right.tolist() == [3, 0]
    assert measures.chance_relations(scores["present"]) == 3 / 6 / 2


def test_relations_in_captions_are_held_against_the_true_boxes():
    truth = Layout("…", ("猫", "树"), (A, B))
    said = [[("猫", "left", "树"), ("树", "above", "猫"), ("狗", "left", "树"), ("树", "right", None)], []]
    share = measures.relations_of(said, [truth, truth])
    assert share.right.tolist() == [2, 0] and share.of.tolist() == [4, 0]


def test_intervals_hold_the_value_and_paired_differences_are_tighter_than_apart():
    rng = np.random.default_rng(8)
    hard = rng.uniform(0, 1, 300)
    first, second = (rng.uniform(0, 1, 300) < hard).astype(float), None
    second = np.where(rng.uniform(0, 1, 300) < 0.1, 1 - first, first)
    a, b = Share(first, np.ones(300)), Share(second, np.ones(300))
    low, high = a.interval()
    assert low < a.value < high and high - low == pytest.approx(4 * math.sqrt(a.value * (1 - a.value) / 300), rel=0.15)
    difference = a.minus(b)
    assert difference["value"] == pytest.approx(a.value - b.value, abs=1e-6)
    ends = difference["interval"]
    assert ends[0] <= difference["value"] <= ends[1] and ends[1] - ends[0] < 0.8 * (high - low)
    assert a.minus(a) == {"value": 0.0, "interval": [0.0, 0.0]}
    assert Share(np.zeros(2), np.zeros(2)).minus(a)["value"] is None


def test_a_group_tells_rows_values_and_what_they_are_of():
    told = measures.group(
        {"x": Share(np.array([1.0, 0]), np.array([2.0, 1])), "y": Share(np.zeros(2), np.zeros(2))}, chance=0
    )
    assert told["n"] == 2 and told["metrics"] == {"x": pytest.approx(1 / 3, abs=1e-6)} and told["counts"] == {"x": 3}
    assert told["chance"] == 0 and len(told["intervals"]["x"]) == 2
