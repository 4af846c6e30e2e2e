"""Counts in captions: numerals before a measure word and a name."""

import pytest

from gillnext.planner.counts import counts_in, number, stated

NAMES = ["猫", "熊猫", "气球", "树", "apple"]


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("三只气球", {"气球": 3}),
        ("两個氣球和兩隻猫", {"猫": 2}),
        ("3只猫，１２棵树", {"猫": 3, "树": 12}),
        ("一双猫、两对气球", {"猫": 2, "气球": 4}),
        ("三只红色的气球、两只小猫、一大棵绿树", {"气球": 3, "猫": 2, "树": 1}),
        ("左边一只猫，右边一只猫", {"猫": 2}),
        ("一只猫在树的左边，猫很小", {"猫": 1}),
        ("两只熊猫", {"熊猫": 2}),
        ("三个apple", {"apple": 3}),
        ("第三只猫", {}),
        ("猫和树", {}),
        ("三只狗和树", {}),
        ("零只猫", {}),
        ("", {}),
    ],
)
def test_counts_stated_before_a_name(caption, expected):
    assert stated(caption, NAMES) == expected


@pytest.mark.parametrize(
    ("numeral", "value"),
    [
        ("一", 1),
        ("十", 10),
        ("十二", 12),
        ("二十", 20),
        ("九十九", 99),
        ("两百零三", 203),
        ("一千二百", 1200),
        ("007", 7),
    ],
)
def test_numerals(numeral, value):
    assert number(numeral) == value


def test_counts_without_a_known_name_are_kept():
    assert [(c.words, c.number, c.name) for c in counts_in("两只狗和一只猫", NAMES)] == [
        ("两只", 2, ""),
        ("一只", 1, "猫"),
    ]
    assert [c.number for c in counts_in("两只狗", [])] == [2]
