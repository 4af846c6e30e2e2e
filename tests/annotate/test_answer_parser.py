"""The parser of Qwen2-VL answers takes anything and never raises."""

import random

import pytest

from gillnext import boxes
from gillnext.annotate.answers import MOST, to_found
from gillnext.annotate.base import Found
from gillnext.annotate.families import qwen2_5_vl
from gillnext.annotate.families.qwen2_vl import parse

CAT = "<|object_ref_start|>猫<|object_ref_end|>"
BOX = "<|box_start|>(100,200),(300,400)<|box_end|>"


def reasons(text):
    return [reason for _, reason in parse(text).problems]


def test_a_plain_answer():
    tree = "<|object_ref_start|>树<|object_ref_end|><|box_start|>(0,0),(1000,1000)<|box_end|>"
    answer = parse(CAT + BOX + "，" + tree + "<|im_end|>")
    assert answer.objects == (("猫", (0.1, 0.2, 0.3, 0.4)), ("树", (0.0, 0.0, 1.0, 1.0)))
    assert answer.problems == ()


def test_several_boxes_of_one_name_in_one_block_or_in_several():
    one = CAT + "<|box_start|>(1,2),(3,4),(5,6),(7,8)<|box_end|>"
    two = CAT + "<|box_start|>(1,2),(3,4)<|box_end|><|box_start|>(5,6),(7,8)<|box_end|>"
    assert parse(one).objects == parse(two).objects
    assert [name for name, _ in parse(one).objects] == ["猫", "猫"]


def test_full_width_signs_and_spaces_are_read():
    assert parse(CAT + "<|box_start|> （１００，２００）, ( 300 ,400 ) <|box_end|>").objects == parse(CAT + BOX).objects


@pytest.mark.parametrize(
    "text, expected",
    [
        ("猫(100,200),(300,400)", [("猫", (0.1, 0.2, 0.3, 0.4))]),
        ("猫：（１００，２００），（３００，４００）。", [("猫", (0.1, 0.2, 0.3, 0.4))]),
        ("猫 (100.0, 200) (300, 400)<|im_end|>", [("猫", (0.1, 0.2, 0.3, 0.4))]),
        ("1. 猫 (100,200),(300,400)", [("猫", (0.1, 0.2, 0.3, 0.4))]),
        ("- **猫** (100,200),(300,400)", [("猫", (0.1, 0.2, 0.3, 0.4))]),
        ("“猫”：(100,200),(300,400)", [("猫", (0.1, 0.2, 0.3, 0.4))]),
        (
            "好的：\n猫(100,200),(300,400)，(0,0),(20,20)\n树(0,0),(1000,1000)",
            [("猫", (0.1, 0.2, 0.3, 0.4)), ("猫", (0.0, 0.0, 0.02, 0.02)), ("树", (0.0, 0.0, 1.0, 1.0))],
        ),
        (CAT + "(100,200),(300,400)", [("猫", (0.1, 0.2, 0.3, 0.4))]),
    ],
)
def test_an_answer_without_markers_is_read_where_it_is_plain(text, expected):
    assert parse(text).objects == tuple(expected) and reasons(text) == []


def test_what_follows_the_end_of_the_answer_is_ignored():
    assert (
        parse(CAT + BOX + "<|im_end|>" + CAT + "<|box_start|>(1,1),(2,2)<|box_end|>").objects
        == parse(CAT + BOX).objects
    )


@pytest.mark.parametrize(
    "text, expected",
    [
        ("", ["no box in the answer"]),
        ("图中有一只猫，在左边。", ["no box in the answer"]),
        (CAT, ["no box"]),
        (CAT + CAT, ["no box", "no box"]),
        ("<|object_ref_start|>猫", ["truncated"]),
        (CAT + "<|box_start|>(100,200),(300", ["truncated"]),
        (CAT + "<|box_start|>(100,200),(300,400)", ["truncated"]),
        (CAT + "<|box_start|>(100,200)<|box_end|>", ["malformed"]),
        (CAT + "<|box_start|><|box_end|>", ["malformed"]),
        (CAT + "<|box_start|>(a,b),(c,d)<|box_end|>", ["malformed"]),
        (CAT + "<|box_start|>(1,2),(3,4) 左边<|box_end|>", ["malformed"]),
        (CAT + "<|box_start|>(300,400),(100,200)<|box_end|>", ["reversed or empty"]),
        (CAT + "<|box_start|>(100,200),(100,400)<|box_end|>", ["reversed or empty"]),
        (CAT + "<|box_start|>(100,200),(300,1001)<|box_end|>", ["out of range"]),
        (CAT + "<|box_start|>(-1,200),(300,400)<|box_end|>", ["out of range"]),
        (CAT + "<|box_start|>(" + "9" * 400 + ",2),(3,4)<|box_end|>", ["malformed"]),
        (CAT + "<|box_start|>(0.1,0.2),(0.3,0.4)<|box_end|>", ["fractions of the image"]),
        (CAT + "<|box_start|>(0,0),(0,0)<|box_end|>", ["reversed or empty"]),
        ("(100,200),(300,400)", ["a box without a name"]),
        ("[猫](100,200),(300,400)", ["malformed"]),
        ("<ref>猫</ref><box>(100,200),(300,400)</box>", ["malformed"]),
        ("猫(100,200),(300,400", ["truncated"]),
        ("猫(100,200),", ["truncated"]),
        ("猫(100,200)、树(0,0),(10,10)", ["malformed"]),
        ("猫(100,200)在左边", ["malformed"]),
        ("猫(100,200)到(300,400)", ["malformed"]),
        ("红、白旗(100,200),(300,400)", ["malformed"]),
        ("<|quad_start|>(1,2),(3,4),(5,6),(7,8)<|quad_end|>", ["malformed", "a box without a name"]),
        (CAT + "<|box_start|>[100,200],[300,400]<|box_end|>", ["malformed"]),
        ("2026年10月5日，12点30分", ["no box in the answer"]),
        ("猫(300,400),(100,200)", ["reversed or empty"]),
        ("猫(100,200,300,400)", ["coordinates in another form"]),
        ("猫[100, 200, 300, 400]", ["coordinates in another form"]),
        ('[{"bbox_2d": [100, 200, 300, 400], "label": "猫"}]', ["coordinates in another form"]),
        ("图中有(2)只猫", ["no box in the answer"]),
        (CAT + "(100,200)", ["malformed"]),
        ("树(1,2),(3,4)<|object_ref_start|>", ["coordinates in another form", "truncated"]),
        (BOX, ["a box without a name"]),
        ("<|object_ref_start|>  <|object_ref_end|>" + BOX, ["a box without a name"]),
    ],
)
def test_what_is_no_box_is_told_and_left_out(text, expected):
    assert parse(text).objects == ()
    assert reasons(text) == expected


def test_one_bad_box_costs_no_other():
    answer = parse(CAT + "<|box_start|>(9,9),(1,1)<|box_end|>" + CAT + BOX)
    assert answer.objects == (("猫", (0.1, 0.2, 0.3, 0.4)),)
    assert answer.problems == (("猫", "reversed or empty"),)


def test_a_box_outside_the_markers_is_told():
    answer = parse(CAT + BOX + "，树(0,0),(10,10)")
    assert answer.objects == (("猫", (0.1, 0.2, 0.3, 0.4)),)
    assert answer.problems == (("", "coordinates in another form"),)


def test_a_repeated_box_counts_once():
    answer = parse((CAT + BOX) * 5)
    assert len(answer.objects) == 1
    assert reasons((CAT + BOX) * 5) == ["repeated"] * 4


@pytest.mark.parametrize("text", [BOX, "(100,200),(300,400)", '[{"bbox_2d": [100, 200, 300, 400]}]'])
def test_one_box_without_a_name_is_that_of_the_only_name_that_was_asked_for(text):
    answer = qwen2_5_vl.parse(text, (1000, 1000)) if "{" in text else parse(text)
    assert to_found(answer, "一只猫", ["猫"]) == [Found("猫", (0.1, 0.2, 0.3, 0.4), 1.0)]
    for names in (["猫", "树"], None):
        assert [f.box for f in to_found(answer, "一只猫和一棵树", names)] == [None] * (1 + len(names or []))


@pytest.mark.parametrize(
    "text",
    [
        '{"bbox_2d": [100, 200, 300, 400], "name": "狗"}',
        '{"bbox_2d": [100, 200, 300, 400], "label": ["狗"]}',
        '{"狗": {"bbox_2d": [100, 200, 300, 400]}}',
        '图中的狗：[{"bbox_2d": [100, 200, 300, 400]}]',
        "<|object_ref_start|>狗" + BOX,
        "狗：" + BOX,
    ],
)
def test_a_box_that_says_its_name_in_another_way_gets_none(text):
    answer = qwen2_5_vl.parse(text, (1000, 1000)) if "{" in text else parse(text)
    found = to_found(answer, "一只猫", ["猫"])
    assert all(f.box is None for f in found) and "a box without a name" in [f.reason for f in found]


@pytest.mark.parametrize(
    "text", [BOX + CAT + BOX, BOX + "<|box_start|>(1,2),(30,40)<|box_end|>", BOX + "<|box_start|>(1"]
)
def test_of_several_boxes_none_gets_the_name_that_was_asked_for_by_itself(text):
    found = to_found(parse(text), "一只猫", ["猫"])
    assert [f.name for f in found if f.box] == ["猫"] * (CAT in text)
    assert "a box without a name" in [f.reason for f in found]


def test_a_model_that_runs_on_is_cut():
    text = "".join(f"{CAT}<|box_start|>({i},0),({i + 5},9)<|box_end|>" for i in range(100))
    assert len(parse(text).objects) == MOST
    assert reasons(text) == ["too many boxes"] * (100 - MOST)


def test_any_mixture_of_pieces_gives_valid_boxes_or_reasons():
    rng = random.Random(0)
    parts = [
        "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>", "<|box_end|>", "<|im_end|>", "猫", "树",
        "(1,2)", "(900,999)", "(5000,2)", "(", ")", ",", "-3", "1e9", "\n", "\x00", "🙂", "<|box_st", "（", "٣",
        "(1,2),(3,4)",
    ]  # fmt: skip
    for _ in range(5000):
        text = "".join(rng.choices(parts, k=rng.randrange(14)))
        answer = parse(text)
        assert all(name and boxes.problem(box) is None for name, box in answer.objects)
        assert answer.objects or answer.problems
    whole = CAT + BOX
    for cut in range(len(whole)):
        assert parse(whole[:cut]).objects == ()
