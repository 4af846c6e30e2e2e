"""Captions that name objects alone: each name once, with its number, and no word of place."""

import re

import pytest

from gillnext.filter.lexicon import read_lexicon
from gillnext.split import naming

LEXICON = read_lexicon()


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        ("猫 车", "一只猫和一辆车"),
        ("猫 公交车 猫 猫", "三只猫和一辆公交车"),
        ("鱼 树 房子 树", "一条鱼、两棵树和一座房子"),
        ("怪物", "一个怪物"),
        ("桌上的花 花", "两朵花"),
        ("红色的花", "一朵红色的花"),
        ("一群人", "一群人"),
        ("T恤", "一个T恤"),
    ],
)
def test_objects_are_named_with_their_numbers(names, wanted):
    assert naming.caption(names.split(), LEXICON) == wanted


def test_numbers_are_written_as_they_are_spoken():
    known = {
        1: "一",
        2: "两",
        9: "九",
        10: "十",
        11: "十一",
        12: "十二",
        20: "二十",
        21: "二十一",
        30: "三十",
        99: "九十九",
    }
    assert {n: naming.number(n) for n in known} == known
    assert naming.number(100) == "100"


def test_no_caption_states_a_place():
    """As the keyword pass reads them: of every noun of the table, and of names with places in them."""
    nouns = [noun for words in naming.MEASURES.values() for noun in words.split()]
    for names in (nouns, ["墙上的画", "左边的猫", "树下的女孩", "右侧桌子上的书"]):
        text = naming.caption(names, LEXICON)
        assert LEXICON.pattern.search(text) is None, text
        assert not re.search("[左右上下]", text)


def test_each_noun_has_one_measure_word():
    nouns = [(noun, m) for m, words in naming.MEASURES.items() for noun in words.split()]
    assert [noun for noun, m in nouns if naming.measure(noun) != m] == []
