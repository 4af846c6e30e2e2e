"""Plans as text: what is written is read back, and no text makes the parser raise."""

import numpy as np
import pytest

from gillnext import boxes
from gillnext.planner import format as plan_format

GOOD = "<obj>猫</obj><box>[072,310,450,700]</box><obj>房子</obj><box>[500,000,1000,400]</box>"


def test_plan_reads_as_unit_boxes():
    parsed = plan_format.parse(GOOD)
    assert parsed.valid
    assert parsed.names == ("猫", "房子")
    assert parsed.boxes == ((0.072, 0.31, 0.45, 0.7), (0.5, 0.0, 1.0, 0.4))
    assert parsed.layout("猫和房子").caption == "猫和房子"


def test_numbers_of_any_width_are_read():
    assert plan_format.parse("<obj>猫</obj><box>[5,0,1000,60]</box>").boxes == ((0.005, 0.0, 1.0, 0.06),)


@pytest.mark.parametrize("grid", [1, plan_format.GRID])
def test_written_boxes_come_back_to_half_a_grid_step(grid):
    rng = np.random.default_rng(0)
    for _ in range(300):
        low = rng.uniform(0, 0.9, (3, 2))
        unit = np.concatenate([low, np.minimum(low + rng.uniform(0.05, 0.9, (3, 2)), 1)], 1)
        parsed = plan_format.parse(plan_format.write(["猫", "树", "船"], unit, grid))
        assert parsed.valid
        np.testing.assert_allclose(np.array(parsed.boxes), unit, atol=grid / 2000 + 1e-9)


def test_thinnest_boxes_at_the_edge_are_written_valid():
    for box in [(0.9999, 0.9999, 1.0, 1.0), (0.0, 0.0, 1e-6, 1e-6), (0.5, 0.5, 0.5001, 0.5001)]:
        for grid in (1, plan_format.GRID):
            assert plan_format.parse(plan_format.write(["猫"], [box], grid)).valid


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no objects"),
        ("猫", "after the objects"),
        ("好的：" + GOOD, "between objects"),
        (GOOD + "<obj>树</obj>", "after the objects"),
        ("<obj>猫</obj><box>[100,100,50,200]</box>", "reversed"),
        ("<obj>猫</obj><box>[100,100,100,200]</box>", "reversed"),
        ("<obj>猫</obj><box>[100,100,200,1001]</box>", "out of 0–1000"),
        ("<obj>猫</obj><box>[0.1,0.1,0.2,0.3]</box>", "whole numbers"),
        ("<obj>猫</obj><box>[-10,0,20,30]</box>", "whole numbers"),
        ("<obj>猫</obj><box>[1,2,3]</box>", "whole numbers"),
        ("<obj></obj><box>[1,2,3,4]</box>", "no name"),
        ("<obj>" + "猫" * 40 + "</obj><box>[1,2,3,4]</box>", "no name"),
    ],
)
def test_bad_answers_give_reasons(text, reason):
    parsed = plan_format.parse(text)
    assert not parsed.valid
    assert any(reason in r for r in parsed.reasons)


def test_random_garbage_never_raises_and_good_parts_stay_in_range():
    rng = np.random.default_rng(2)
    pieces = [
        "<obj>",
        "</obj>",
        "<box>[",
        "]</box>",
        "</obj><box>[",
        ",",
        "0",
        "10",
        "999",
        "1001",
        "猫",
        "[",
        "<",
        "²",
        "٣",
    ]
    pieces += ["\n", " ", "-", "1e3", "nan", "\x00", "🙂", GOOD]
    valid = 0
    for _ in range(5000):
        parsed = plan_format.parse("".join(rng.choice(pieces, rng.integers(0, 14))))
        assert len(parsed.names) == len(parsed.boxes)
        assert all(boxes.problem(b) is None for b in parsed.boxes)
        valid += parsed.valid
    assert 0 < valid < 5000
