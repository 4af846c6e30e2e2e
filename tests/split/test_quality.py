"""Boxes at fault, by reason, and layouts with too few or too many left."""

import pytest

from gillnext.config.split import Split
from gillnext.layouts import Layout
from gillnext.split import quality

GOOD = (0.2, 0.2, 0.6, 0.6)


def judged(*boxes, names=None, scores=None, size=(100, 100), **settings):
    names = names or [f"物{i}" for i in range(len(boxes))]
    scores = scores or [None] * len(boxes)
    return quality.judge(Layout("图", tuple(names), tuple(boxes)), scores, size, Split(**settings))


@pytest.mark.parametrize(
    ("box", "settings", "reason"),
    [
        ((0.2, 0.2, 0.23, 0.23), {}, quality.SMALL),
        ((0.2, 0.2, 0.3, 0.3), {"least_area": 0.0101}, quality.SMALL),
        ((0.0, 0.0, 1.0, 0.96), {}, quality.LARGE),
        ((0.1, 0.4, 0.9, 0.47), {}, quality.LONG),
        (GOOD, {}, ""),
    ],
)
def test_a_box_at_fault_is_left_out_alone(box, settings, reason):
    found = judged(GOOD, box, **settings)
    assert found == quality.Judged((0,) if reason else (0, 1), (reason,) if reason else (), "")
    assert judged(box, **settings).reason == reason


def test_aspect_is_in_pixels():
    """A box of two to one is square in a picture of one to two."""
    box = (0.1, 0.1, 0.9, 0.5)
    assert judged(box, most_aspect=1.1).reason == quality.LONG
    assert judged(box, size=(100, 200), most_aspect=1.1).reason == ""


def test_a_box_twice_is_kept_once_and_names_of_their_own_both():
    other = (0.2, 0.2, 0.6, 0.59)
    assert judged(GOOD, other, names=["猫", "猫"]) == quality.Judged((0,), (quality.TWICE,), "")
    assert judged(GOOD, other, names=["猫", "狗"]).kept == (0, 1)
    assert judged(GOOD, other, names=["猫", "猫"], most_iou=0.99).kept == (0, 1)  # their IoU is 0.975


def test_the_least_confidence_is_asked_where_there_is_one():
    scores = [0.4, None, 0.6]
    assert judged(GOOD, GOOD, GOOD, scores=scores, least_confidence=0.5).kept == (1, 2)


def test_names_that_are_no_line_of_a_vocabulary_are_at_fault():
    assert judged(GOOD, GOOD, GOOD, names=["猫\n狗", " 猫", "小 猫"]).faults == (quality.LABEL,) * 2


def test_layouts_have_least_and_most_boxes():
    assert judged(GOOD, GOOD, least_boxes=3).reason == quality.FEW
    assert judged(GOOD, GOOD, GOOD, most_boxes=2).reason == quality.MANY
    assert judged(GOOD, (0, 0, 1, 1), least_boxes=2).reason == quality.LARGE


def test_only_the_good_boxes_are_left_of_a_layout():
    layout = Layout("图", ("a", "b"), (GOOD, (0.0, 0.0, 1.0, 1.0)), "7", "x.jpg", {"url": "u"})
    left = quality.only(layout, quality.judge(layout, [None, None], (9, 9), Split()))
    assert (left.names, left.boxes, left.id, left.image_path, left.extra) == (
        ("a",),
        (GOOD,),
        "7",
        "x.jpg",
        {"url": "u"},
    )
