"""The parser of Qwen2.5-VL's JSON answers takes anything and never raises."""

import json
import random

import pytest

from gillnext import boxes
from gillnext.annotate.answers import MOST
from gillnext.annotate.families.qwen2_5_vl import parse, question

SIZE = (200, 100)
WIDE = str.maketrans('{}[],:"012', "｛｝［］，：”０１２")
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
        (said({"bbox_2d": [20, 10, "x", 50], "label": "猫"}), ["malformed"]),
        (said({"bbox_2d": [20, 10, "", 50], "label": "猫"}), ["malformed"]),
        (said({"bbox_2d": [0.1, 0.1, 0.5, 0.5], "label": "猫"}), ["fractions of the image"]),
        (said({"bbox_2d": [0, 0, 0, 0], "label": "猫"}), ["reversed or empty"]),
        (said({"box_2d": [20, 10, 100, 50], "label": "猫"}), ["no box"]),  # Gemini's: y before x
        (said({"猫": [20, 10, 100, 50]}), ["coordinates in another form"]),
        ("猫(20,10),(100,50)", ["coordinates in another form"]),
        ("猫[20， 10， 100， 50]", ["coordinates in another form"]),
        (
            "<|object_ref_start|>猫<|object_ref_end|><|box_start|>(20,10),(99,50)<|box_end|>",
            ["coordinates in another form"],
        ),
        ('{"bbox_2d": [20, 10, 100, 50], "label": "猫", "bbox_2d": [1, 2, 3, 4], "label": "树"}', ["malformed"]),
        ("{'bbox_2d': [20, 10, 10 * 10, 50], 'label': '猫'}", ["malformed"]),
        ("{'bbox_2d': None, 'label': '猫'}", ["malformed"]),
        ('[{"bbox_2d": [20, 10, 100, 50], "label": "写着"福', ["truncated"]),
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
        ("{" * 5000, ["truncated"]),
    ],
)
def test_what_is_no_box_is_told_and_left_out(text, expected):
    assert parse(text, SIZE).objects == ()
    assert reasons(text) == expected


@pytest.mark.parametrize(
    "text, label",
    [
        ('[{"bbox_2d": [20, 10, 100, 50], "label": "写着"福"字的灯笼"}]', '写着"福"字的灯笼'),
        ('[{"label": "写着"福"字的灯笼", "bbox_2d": [20, 10, 100, 50]}]', '写着"福"字的灯笼'),
        ('[{"bbox_2d": [20, 10, 100, 50], "label": ""福"字"}]', '"福"字'),
        ("[{'bbox_2d': [20, 10, 100, 50], 'label': '猫'}]", "猫"),
        ("[{'label': 'cat's bowl', 'bbox_2d': [20, 10, 100, 50]}]", "cat's bowl"),
        ('[{"bbox_2d": [20, 10, 100, 50,], "label": "猫",},]', "猫"),
        ('[{"bbox_2d": [20, 10, 100, 50], "label": "写着“福”，字",}]', "写着“福”，字"),
        ('[{"bbox_2d": [20, 10, 100, 50], "label": "写着“福”字"}]', "写着“福”字"),
        ("［｛“bbox_2d”：［２０，10、 100，50］，“label”：“猫，ＡＢ”｝］", "猫，ＡＢ"),
        ('[{"bbox_2d": ["20", "10", "100.0", " 50 "], "label": "猫"}]', "猫"),
        ('[{"bbox_2d": [20.0, 1e1, 100.0, 50], "label": "猫"}]', "猫"),
        ('[{"bbox": [20, 10, 100, 50], "label": "猫"}]', "猫"),
        ('{"bbox_2d": [20, 10, 100, 50], "label": "猫", "score": 0.9}', "猫"),
        ("{'bbox_2d': [20, 10, 100, 50], 'label': '猫', 'sub_label': '一只'}", "猫"),
        ('{"objects": [{"bbox_2d": [20, 10, 100, 50], "label": "写着"福"字"}]}', '写着"福"字'),
        ('好的，{见下}：\n{"bbox_2d": [20, 10, 100, 50], "label": " 猫 "}\n以上。', "猫"),
    ],
)
def test_what_is_nearly_json_is_read_where_it_is_plain(text, label):
    assert parse(text, SIZE).objects == ((label, (0.1, 0.1, 0.5, 0.5)),)
    assert reasons(text) in ([], ["malformed"] * ("见下" in text))


def test_one_bad_object_costs_no_other():
    tree = '{"bbox_2d": [0, 0, 200, 100], "label": "树"}'
    answer = parse(f'[{{"bbox_2d": [20, 10, 100}}, {tree}, {{"bbox_2d": [20, 10, 100, 50], "label": 猫}}]', SIZE)
    assert answer.objects == (("树", (0.0, 0.0, 1.0, 1.0)),)
    assert answer.problems == (("", "malformed"),) * 2
    for other in (
        '{"box": [1, 2, 3, 4], "name": "猫"}',
        "{'bbox_2d': [1, 2, 3, 4], 'of': {'name': '猫'}}",
        "猫(1,2),(3,4)",
    ):
        answer = parse(f"[{tree}, {other}]", SIZE)
        assert [name for name, _ in answer.objects] == ["树"], other
        assert answer.problems == (("", "coordinates in another form"),), other


def test_a_wrapped_answer_is_the_same_as_one_that_is_not():
    tree = {"bbox_2d": [0, 0, 200, 100], "label": "树"}
    wrapped = json.dumps({"objects": [CAT, tree]}, ensure_ascii=False)
    assert parse(wrapped, SIZE) == parse(said(CAT, tree), SIZE)
    assert len(parse(wrapped[:-12], SIZE).objects) == 1  # cut off, as its first box came whole
    assert reasons('{"answer": "没有"}') == ["no box in the answer"]


def test_a_truncated_answer_keeps_what_came_whole():
    answer = parse('[{"bbox_2d": [20, 10, 100, 50], "label": "猫"}, {"bbox_2d": [1, 2', SIZE)
    assert answer.objects == (("猫", (0.1, 0.1, 0.5, 0.5)),) and answer.problems == (("", "truncated"),)
    for cut in ("[" + json.dumps(CAT), '{"objects": [' + json.dumps(CAT) + ", ", "[" + str(CAT) + ","):
        assert parse(cut, SIZE) == answer, cut


def test_repeats_count_once_and_a_model_that_runs_on_is_cut():
    assert reasons(said(*[CAT] * 5)) == ["repeated"] * 4
    many = [{"bbox_2d": [i, 0, i + 5, 9], "label": "猫"} for i in range(100)]
    assert len(parse(said(*many), SIZE).objects) == MOST and reasons(said(*many)) == ["too many boxes"] * (100 - MOST)


def test_any_mixture_of_pieces_gives_valid_boxes_or_reasons():
    rng = random.Random(0)
    parts = [
        "{", "}", "[", "]", '"bbox_2d":', '"label":', '"猫"', ",", "1", "-3", "1e999", "NaN", "null", "true", '"', "\\",
        "[1,2,3,4]", '{"bbox_2d":[1,2,3,4],"label":"猫"}', "\x00", "🙂", "```json", "<|im_end|>",
        "'", "“", "，", "：", "｛", "］", "{'bbox':['1',2,3,4,],'label':'猫'},", '"label":"a"b"',
    ]  # fmt: skip
    for _ in range(5000):
        answer = parse("".join(rng.choices(parts, k=rng.randrange(14))), SIZE)
        assert all(name and boxes.problem(box) is None for name, box in answer.objects)
        assert answer.objects or answer.problems
    for whole in (json.dumps(CAT, ensure_ascii=False), str(CAT), json.dumps(CAT).translate(WIDE)):
        assert len(parse(whole, SIZE).objects) == 1
        for cut in range(len(whole)):
            assert parse(whole[:cut], SIZE).objects == ()


def test_the_question_names_what_is_asked_for():
    assert "一只猫" in question("一只猫", None) and "猫、树" in question("一只猫和一棵树", ["猫", "树"])
