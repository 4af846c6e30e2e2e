"""Box conventions: told apart, converted, refused when wrong; IoU against a count of grid cells."""

import numpy as np
import pytest

from gillnext import boxes
from gillnext.boxes import Convention
from gillnext.runtime.errors import UserError


@pytest.mark.parametrize(
    ("found", "convention"),
    [
        ([[0.1, 0.2, 0.5, 0.9]], Convention.UNIT),
        ([[0, 0, 1, 1]], Convention.UNIT),
        ([[100, 200, 500, 900]], Convention.THOUSANDTHS),
        ([[0, 0, 1000, 1000], [3, 4, 5, 6]], Convention.THOUSANDTHS),
        ([], Convention.UNIT),
    ],
)
def test_the_convention_is_told_from_the_numbers(found, convention):
    assert boxes.detect(found) is convention


@pytest.mark.parametrize(
    "mixed", [[[0, 0, 1200, 900]], [[-5, 0, 300, 300]], [[0.1, 0.1, 0.5, 0.5], [100, 100, 500, 500]]]
)
def test_what_fits_no_convention_or_two_is_refused(mixed):
    with pytest.raises(UserError, match="shard 3, row 7"):
        boxes.to_unit(mixed, "auto", where="shard 3, row 7")


@pytest.mark.parametrize("convention", ["auto", "thousandths"])
def test_thousandths_become_fractions(convention):
    assert boxes.to_unit([[100, 200, 500, 900]], convention) == [(0.1, 0.2, 0.5, 0.9)]


def test_pixels_need_the_size_and_use_it():
    assert boxes.to_unit([[32, 16, 64, 48]], "pixels", size=(64, 128)) == [(0.5, 0.125, 1.0, 0.375)]
    with pytest.raises(UserError, match="size"):
        boxes.to_unit([[32, 16, 64, 48]], "pixels")


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ([0.5, 0.2, 0.1, 0.9], "reversed"),
        ([0.1, 0.9, 0.5, 0.2], "reversed"),
        ([0.1, 0.2, 0.1, 0.9], "empty"),
        ([0.1, 0.2, 0.5, 1.2], "out of the range"),
        ([-0.1, 0.2, 0.5, 0.9], "out of the range"),
        ([100, 200, 500, 900], "0–1000"),
        ([0.1, 0.2, 0.5], "3 numbers"),
        ([0.1, 0.2, float("nan"), 0.9], "finite"),
        (["a", 0.2, 0.5, 0.9], "finite"),
    ],
)
def test_a_wrong_box_is_refused_with_its_place_and_never_clamped(box, reason):
    with pytest.raises(UserError, match=r"layouts\.jsonl, line 4, box 1") as caught:
        boxes.to_unit([[0.1, 0.1, 0.2, 0.2], box], "unit", where="layouts.jsonl, line 4")
    assert reason in str(caught.value)


def test_iou_equals_the_share_of_grid_cells():
    rng = np.random.default_rng(0)
    corners = np.sort(rng.integers(0, 41, (12, 2, 2)), axis=1)
    corners[:, 1] += corners[:, 0] == corners[:, 1]
    xyxy = corners.reshape(12, 4)
    y, x = np.mgrid[0:42, 0:42]
    masks = [(x >= a) & (x < c) & (y >= b) & (y < d) for a, b, c, d in xyxy]
    expected = [[(m & n).sum() / (m | n).sum() for n in masks[7:]] for m in masks[:7]]
    assert np.allclose(boxes.iou(xyxy[:7], xyxy[7:]), expected)


def test_iou_of_nothing_has_the_right_shape():
    assert boxes.iou(np.zeros((0, 4)), np.zeros((3, 4))).shape == (0, 3)


def test_centres_are_means_of_corners():
    assert np.allclose(boxes.centres(np.array([[0, 0.2, 0.5, 0.4]])), [[0.25, 0.3]])


def test_an_error_tells_the_box_by_number_and_name():
    with pytest.raises(UserError, match=r"boxes\.json, box 1 \(树\)"):
        boxes.to_unit([[0.1, 0.1, 0.2, 0.2], [0.9, 0.1, 0.6, 0.6]], "unit", where="boxes.json", names=("猫", "树"))
