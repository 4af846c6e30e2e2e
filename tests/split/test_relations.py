"""What captions state, by their own grammar: the drawn world's known relations, and sentences written by hand."""

import pytest

from gillnext.filter.lexicon import Lexicon, read_lexicon
from gillnext.layouts import Layout
from gillnext.miniatures.world import heldout
from gillnext.split.relations import Grammar, agreed


@pytest.fixture(scope="module")
def grammar():
    return Grammar(read_lexicon())


def test_of_the_worlds_captions_what_is_read_is_what_was_written(grammar):
    """Captions of pairs, rows and chains, whose relations their writer knows: all of them, and no other."""
    rows = heldout.relations(11, 200, "relations-test")
    wrong = [
        r.caption for r in rows if set(grammar.stated(r.caption, r.names)) != set(map(tuple, r.extra["relations"]))
    ]
    assert wrong == []


SAID = [
    ("左邊是一隻貓，右邊是一棵樹", "貓 樹", [(0, "left", 1)]),
    ("桌子上面放着一个杯子", "桌子 杯子", [(1, "above", 0)]),
    ("一只小狗坐在椅子的右侧", "小狗 椅子", [(0, "right", 1)]),
    ("穿红衣服的女孩站在老人的左边", "女孩 老人", [(0, "left", 1)]),
    ("画面左上角有一轮月亮", "月亮", [(0, "left", None), (0, "above", None)]),
    ("图片的下方是草地和一只狗", "草地 狗", [(0, "below", None), (1, "below", None)]),
    ("从左往右分别是苹果、梨、香蕉", "苹果 梨 香蕉", [(0, "left", 1), (1, "left", 2)]),
    ("左边是猫，中间是狗，右边是一匹马", "猫 狗 马", [(0, "left", 1), (1, "left", 2)]),
    ("猫在左边，狗在右边，照片很清楚", "猫 狗", [(0, "left", 1)]),
]
UNSAID = [
    ("一棵树，左边是一只猫", "树 猫"),  # of the tree, or of the picture?
    ("它的右边是一辆车，一只猫", "车 猫"),
    ("汽车上方的天空中有一只鸟", "汽车 鸟"),
    ("女孩左边是猫的碗", "女孩 猫 碗"),  # the bowl, not the cat
    ("左边的猫在睡觉", "猫"),
    ("猫不在树的左边", "猫 树"),
    ("左边没有猫，右边没有树", "猫 树"),
    ("猫的左边有两只狗", "猫 狗"),  # one box, two dogs
    ("猫在狗的左边", "猫 狗 狗"),  # which of two dogs?
    ("猫在桌子旁边，狗在左边", "猫 桌子 狗"),
    ("左手边是猫", "猫"),
    ("猫的左边是猫", "猫"),
    ("没有方向", "猫"),
    ("", "猫"),
]


@pytest.mark.parametrize(("caption", "names", "wanted"), SAID)
def test_sentences_are_read(grammar, caption, names, wanted):
    assert grammar.stated(caption, names.split()) == wanted


@pytest.mark.parametrize(("caption", "names"), UNSAID)
def test_what_is_not_certain_says_nothing(grammar, caption, names):
    assert grammar.stated(caption, names.split()) == []


def test_a_direction_counts_where_the_lexicon_knows_it():
    caption = "图的左边是猫"
    assert Grammar(Lexicon(("左",), ("左岸",))).stated(caption, ["猫"]) == [(0, "left", None)]
    assert Grammar(Lexicon(("右",), ("左岸",))).stated(caption, ["猫"]) == []


@pytest.mark.parametrize(("x", "good"), [(0.7, True), (0.52, False), (0.1, False)])
def test_boxes_have_to_agree_by_a_margin(grammar, x, good):
    boxes = ((0.4, 0.4, 0.6, 0.6), (x - 0.1, 0.4, x + 0.1, 0.6))
    assert agreed(Layout("猫在树的左边", ("猫", "树"), boxes), grammar) == ([(0, "left", 1)] if good else [])


def test_one_relation_that_fails_takes_the_others_with_it(grammar):
    boxes = ((0.1, 0.4, 0.3, 0.6), (0.7, 0.4, 0.9, 0.6), (0.4, 0.7, 0.6, 0.9))
    layout = Layout("猫在树的左边，猫在车的下方", ("猫", "树", "车"), boxes)
    assert len(grammar.stated(layout.caption, layout.names)) == 2 and agreed(layout, grammar) == []
