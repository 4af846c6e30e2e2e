"""The parser of Qwen2.5-VL's JSON answers takes anything and never raises."""

import json
import random

import pytest

from gillnext import boxes
from gillnext.annotate.answers import MOST
from gillnext.annotate.families.qwen2_5_vl import parse, question

SIZE = (200, 100)
CAT = {"bbox_2d": [20, 10, 100, 50], "label": "猫"}


def said(*objects, before="```json\n", after="\n```<|im_end|>"):
    return before + json.dumps(list(objects), ensure_ascii=False) + after


def reasons(text):
    return [reason for _, reason in parse(text, SIZE).problems]


def test_pixels_of_the_resized_image_become_fractions():
    answer = parse(said(CAT, {"bbox_2d": [0, 0, 200, 100], "label": "树"}), SIZE)
    assert answer.objects == (("猫", (0.1, 0.1, 0.5, 0.5)), ("树", (0.0, 0.0, 1.0, 1.0)))
    assert answer.problems == ()


@pytest.mark.parametrize("before, after", [("", ""), ("好的，图中有：\n", "\n以上。"), ("```json\n", ""), ("[", "]")])
def test_what_stands_around_the_list_does_not_matter(before, after):
    assert parse(said(CAT, before=before, after=after), SIZE).objects == (("猫", (0.1, 0.1, 0.5, 0.5)),)


def test_several_boxes_of_a_name_in_one_object_or_in_several():
    other = [120, 10, 180, 50]
    one = parse(said({"bbox_2d": [CAT["bbox_2d"], other], "label": "猫"}), SIZE)
    two = parse(said(CAT, {"bbox_2d": other, "label": "猫"}), SIZE)
    assert one == two and len(one.objects) == 2


@pytest.mark.parametrize(
    "text, expected",
    [
        ("", ["no box in the answer"]),
        ("图中有一只猫，在左边。", ["no box in the answer"]),
        ("[]", ["no box in the answer"]),
        ('[{"bbox_2d": [20, 10, 100', ["truncated"]),
        ('[{"bbox_2d": [20, 10, 100}', ["malformed"]),
        (said({"label": "猫"}), ["no box"]),
        (said({"bbox_2d": [], "label": "猫"}), ["no box"]),
        (said({"bbox_2d": "20,10,100,50", "label": "猫"}), ["malformed"]),
        (said({"bbox_2d": [20, 10, 100], "label": "猫"}), ["malformed"]),
        (said({"bbox_2d": [20, 10, "100", 50], "label": "猫"}), ["malformed"]),
        (said({"bbox_2d": [20, 10, None, 50], "label": "猫"}), ["malformed"]),
        (said({"bbox_2d": [20, True, 100, 50], "label": "猫"}), ["malformed"]),
        (said({"bbox_2d": [20, 10, 10**400, 50], "label": "猫"}), ["malformed"]),
        ('[{"bbox_2d": [' + "9" * 5000 + ', 10, 100, 50], "label": "猫"}]', ["malformed"]),
        (said({"bbox_2d": [[20, 10], [100, 50]], "label": "猫"}), ["malformed", "malformed"]),
        (said({"bbox_2d": [100, 50, 20, 10], "label": "猫"}), ["reversed or empty"]),
        (said({"bbox_2d": [20, 10, 100, 101], "label": "猫"}), ["out of range"]),
        (said({"bbox_2d": [-1, 10, 100, 50], "label": "猫"}), ["out of range"]),
        ('[{"bbox_2d": [NaN, 10, 100, 50], "label": "猫"}]', ["out of range"]),
        (said({"bbox_2d": [20, 10, 100, 50]}), ["a box without a name"]),
        (said({"bbox_2d": [20, 10, 100, 50], "label": 7}), ["a box without a name"]),
        ("{" * 5000, ["truncated"] * 5000),
    ],
)
def test_what_is_no_box_is_told_and_left_out(text, expected):
    assert parse(text, SIZE).objects == ()
    assert reasons(text) == expected


def test_a_wrapped_answer_is_the_same_as_one_that_is_not():
    tree = {"bbox_2d": [0, 0, 200, 100], "label": "树"}
    wrapped = json.dumps({"objects": [CAT, tree]}, ensure_ascii=False)
    assert parse(wrapped, SIZE) == parse(said(CAT, tree), SIZE)
    assert len(parse(wrapped[:-12], SIZE).objects) == 1  # cut off, as its first box came whole
    assert reasons('{"answer": "没有"}') == ["no box in the answer"]


def test_a_truncated_answer_keeps_what_came_whole():
    answer = parse('[{"bbox_2d": [20, 10, 100, 50], "label": "猫"}, {"bbox_2d": [1, 2', SIZE)
    assert answer.objects == (("猫", (0.1, 0.1, 0.5, 0.5)),) and answer.problems == (("", "truncated"),)


def test_repeats_count_once_and_a_model_that_runs_on_is_cut():
    assert reasons(said(*[CAT] * 5)) == ["repeated"] * 4
    many = [{"bbox_2d": [i, 0, i + 5, 9], "label": "猫"} for i in range(100)]
    assert len(parse(said(*many), SIZE).objects) == MOST and reasons(said(*many)) == ["too many boxes"] * (100 - MOST)


def test_any_mixture_of_pieces_gives_valid_boxes_or_reasons():
    rng = random.Random(0)
    parts = [
        "{", "}", "[", "]", '"bbox_2d":', '"label":', '"猫"', ",", "1", "-3", "1e999", "NaN", "null", "true", '"', "\\",
        "[1,2,3,4]", '{"bbox_2d":[1,2,3,4],"label":"猫"}', "\x00", "🙂", "```json", "<|im_end|>",
    ]  # fmt: skip
    for _ in range(5000):
        answer = parse("".join(rng.choices(parts, k=rng.randrange(14))), SIZE)
        assert all(name and boxes.problem(box) is None for name, box in answer.objects)
        assert answer.objects or answer.problems
    whole = json.dumps(CAT, ensure_ascii=False)
    for cut in range(len(whole)):
        assert parse(whole[:cut], SIZE).objects == ()


def test_the_question_names_what_is_asked_for():
    assert "一只猫" in question("一只猫", None) and "猫、树" in question("一只猫和一棵树", ["猫", "树"])
