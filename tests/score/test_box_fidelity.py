"""Box fidelity against exhaustive search and cases worked out by hand."""

from itertools import permutations

import numpy as np
import pytest

from gillnext.boxes import iou
from gillnext.instruments.detections import Detections
from gillnext.layouts import Layout
from gillnext.miniatures.world import prior, scenes
from gillnext.miniatures.world.classes import CLASSES
from gillnext.runtime.errors import UserError
from gillnext.score import boxes, chance, precision
from gillnext.score.boxes import Requested

NAMES = [kind.name for kind in CLASSES]
A, B = (0.1, 0.1, 0.5, 0.5), (0.5, 0.5, 0.9, 0.9)


def wanted(*rows):
    return Requested(np.array([label for label, _ in rows]), np.array([box for _, box in rows], float).reshape(-1, 4))


def found(*rows):
    parts = [np.array(column, float) for column in zip(*rows, strict=True)] or [np.zeros(0)] * 3
    return Detections(parts[1].reshape(-1, 4), parts[0].astype(np.int64), parts[2])


def random_boxes(rng, count):
    corner, side = rng.uniform(0, 0.6, (count, 2)), rng.uniform(0.2, 0.4, (count, 2))
    return np.concatenate([corner, corner + side], 1)


def best_sum(table):
    """The largest sum of a one-to-one assignment, by trying all of them."""
    rows, columns = table.shape
    if rows > columns:
        table, rows, columns = table.T, columns, rows
    return max(sum(table[i, j] for i, j in enumerate(p)) for p in permutations(range(columns), rows))


@pytest.mark.parametrize("seed", range(25))
def test_assignment_reaches_the_best_of_all_assignments(seed):
    rng = np.random.default_rng(seed)
    n, m = rng.integers(1, 6, 2)
    want = Requested(rng.integers(0, 2, n), random_boxes(rng, n))
    have = Detections(random_boxes(rng, m), rng.integers(0, 2, m), np.ones(m))
    expected = sum(
        best_sum(iou(want.boxes[want.labels == k], have.boxes[have.labels == k]))
        for k in range(2)
        if (want.labels == k).any() and (have.labels == k).any()
    )
    assert boxes.assign(want, have).sum() == pytest.approx(expected)


def test_one_detection_fills_one_of_two_equal_requests():
    assert sorted(boxes.assign(wanted((3, A), (3, A)), found((3, A, 0.9)))) == [0, 1]


def test_missing_object_scores_zero_and_other_class_does_not_help():
    assert boxes.assign(wanted((0, A), (1, B)), found((2, A, 0.9))).tolist() == [0, 0]
    assert boxes.assign(wanted((0, A)), found()).tolist() == [0]


def test_right_place_with_wrong_class_is_counted_unless_the_right_class_is_there_too():
    assert boxes.misnamed(wanted((0, A), (1, B)), found((2, A, 0.9), (1, B, 0.9))).tolist() == [True, False]
    assert boxes.misnamed(wanted((0, A)), found((2, A, 0.9), (0, A, 0.4))).tolist() == [False]
    assert boxes.misnamed(wanted((0, A)), found((2, B, 0.9))).tolist() == [False]


def test_what_a_picture_shows_counts_wherever_it_is_and_chance_asks_for_another_pictures_objects():
    pictures = [found((0, B, 0.9), (1, B, 0.5)), found((2, A, 0.9)), found()]
    asked = [wanted((0, A), (2, B)), wanted((2, B)), wanted((1, A))]
    # Asked: 0 of {0, 2}, then 2, then nothing. Next picture's: 2 of {0, 1}, then 1 of {2}, then {0, 2} of nothing.
    assert boxes.shown(asked, pictures) == {"shown": 2 / 4, "chance_shown": 0 / 4}
    assert boxes.shown([asked[1], asked[0], asked[2]], pictures)["chance_shown"] == 1 / 4


def test_fidelity_of_a_small_case_worked_out_by_hand():
    # Image 1: one object exact, one missing. Image 2: shifted by half its width, so IoU = 1/3.
    shifted = (0.3, 0.1, 0.7, 0.5)
    scores = boxes.fidelity(
        [wanted((0, A), (1, B)), wanted((2, A))], [found((0, A, 1), (5, B, 1)), found((2, shifted, 1))], NAMES
    )
    assert scores["metrics"] == pytest.approx({"miou": 4 / 9, "success50": 1 / 3, "wrong_class": 1 / 3})
    assert scores["per_image"] == {"boxes": [2, 1], "hits": [1, 0], "iou": [1.0, 0.3333]}
    one_or_none = {"miou": [0.5, 0.5], "success50": [0.5, 0.5]}  # image 1 is the only one with two
    assert scores["breakdown"]["objects"]["2"] == {"n": 2, "miou": 0.5, "success50": 0.5, "intervals": one_or_none}
    assert sum(row["n"] for row in scores["breakdown"]["size"].values()) == scores["boxes"] == 3
    assert {k: (row["n"], row["success50"]) for k, row in scores["breakdown"]["class"].items()} == {
        NAMES[0]: (1, 1.0), NAMES[1]: (1, 0.0), NAMES[2]: (1, 0.0)
    }  # fmt: skip


def test_unlikely_detections_are_left_out():
    assert boxes.confident(found((0, A, 0.9), (1, B, 0.1))).labels.tolist() == [0]


def test_layout_with_an_unknown_name_is_refused_with_its_place():
    with pytest.raises(UserError, match=r"test.jsonl, line 3.*恐龙"):
        boxes.requested(Layout("一只恐龙", ("恐龙",), (A,)), NAMES, "test.jsonl, line 3")


def test_layouts_without_boxes_are_refused():
    with pytest.raises(UserError, match="no layout asks"):
        boxes.fidelity([wanted()], [found()], NAMES)


def test_average_precision_of_a_case_worked_out_by_hand():
    # One class, two truths. By falling score: hit, false alarm, hit. Precision 1 at recall 0.5, 2/3 at 1.
    # COCO reads 101 recall points: 51 (0 … 0.5) at 1, 50 at 2/3. Hits are exact, so AP equals AP50.
    far = (0.0, 0.6, 0.2, 0.9)
    scores = precision.average_precision(
        [wanted((4, A)), wanted((4, B))], [found((4, A, 0.9), (4, far, 0.8)), found((4, B, 0.7))]
    )
    expected = (51 + 50 * 2 / 3) / 101
    assert scores == pytest.approx({"ap": expected, "ap50": expected}, abs=1e-9)


def test_average_precision_counts_loose_boxes_up_to_their_iou():
    # A box of 0.77 of the height has IoU 0.77: a hit at six of the ten thresholds, 0.50 to 0.75.
    loose = (0.1, 0.1, 0.5, 0.1 + 0.4 * 0.77)
    scores = precision.average_precision([wanted((0, A))], [found((0, loose, 0.9))])
    assert scores == pytest.approx({"ap": 6 / 10, "ap50": 1.0})


def test_average_precision_without_detections_is_zero():
    assert precision.average_precision([wanted((0, A))], [found()]) == {"ap": 0.0, "ap50": 0.0}


def world(count):
    content = [scenes.sample(3, "test", i) for i in range(count)]
    want = [Requested(np.array([o.kind.id for o in s.objects]), s.boxes) for s in content]
    rng = np.random.default_rng(0)
    have = [
        Detections((w.boxes + rng.normal(0, 0.01, w.boxes.shape)).clip(0, 1), w.labels, np.full(len(w.labels), 0.9))
        for w in want
    ]
    return want, have


@pytest.fixture(scope="module")
def redrawn():
    """The boxes of 150 images, five times, from the world's prior."""
    return prior.make(1, 150)


def test_jittered_truth_is_near_one_and_chance_far_below(redrawn):
    want, have = world(150)
    scores, floor = boxes.fidelity(want, have, NAMES)["metrics"], chance.level(redrawn.redrawn(want), have)
    assert scores["success50"] == 1.0
    assert scores["miou"] > 0.85
    assert 0.05 < floor["chance_miou"] < 0.35
    assert floor["chance_success50"] < 0.25


def test_layouts_shuffled_between_images_score_lower():
    want, have = world(100)
    shuffled = boxes.fidelity(want, have[1:] + have[:1], NAMES)["metrics"]
    assert shuffled["miou"] < 0.1


def test_redrawn_boxes_keep_classes_and_depend_on_seed_draw_and_place_alone(redrawn):
    want, _ = world(5)
    first = redrawn.redraw(want[2], 0, 2)
    assert np.array_equal(first.labels, want[2].labels)
    assert np.array_equal(first.boxes, prior.boxes(1, 0, 2, len(want[2].labels)))
    for other in (redrawn.redraw(want[2], 1, 2), redrawn.redraw(want[2], 0, 3), prior.make(2, 3).redraw(want[2], 0, 2)):
        assert not np.array_equal(first.boxes, other.boxes)


def test_a_prior_finds_room_for_a_crowd():
    assert prior.boxes(0, 0, 0, 12).shape == (12, 4)


def test_a_prior_is_read_as_it_was_saved_and_refuses_what_it_has_not(redrawn, tmp_path):
    redrawn.save(tmp_path / "prior.safetensors")
    again = chance.Prior.load(tmp_path / "prior.safetensors")
    assert np.array_equal(again.boxes_DICN4, redrawn.boxes_DICN4)
    with pytest.raises(UserError, match="image 150 with 1 boxes"):
        again.redraw(wanted((0, A)), 0, 150)
    with pytest.raises(UserError, match="image 0 with 5 boxes"):
        again.redraw(wanted(*[(k, A) for k in range(5)]), 0, 0)
    with pytest.raises(UserError, match="gillnext prior"):
        chance.Prior.load(tmp_path / "none.safetensors")


def test_chance_level_is_the_mean_over_redraws_worked_out_one_by_one(redrawn):
    want, have = world(10)
    ious = [boxes.assign(redrawn.redraw(want[i], draw, i), have[i]) for draw in range(5) for i in range(len(want))]
    flat = np.concatenate(ious)
    level = chance.level(redrawn.redrawn(want), have)
    assert level["chance_miou"] == pytest.approx(flat.mean())
    assert level["chance_success50"] == pytest.approx((flat >= 0.5).mean())
