"""The table of names, and evaluators that are asked by it."""

import numpy as np
import pytest
from zero_shot_miniatures import folder

from gillnext.config.data import ZeroShot
from gillnext.instruments import evaluators, open_vocabulary, phrases, zero_shot
from gillnext.instruments.detections import OpenDetector, labels_of, look
from gillnext.instruments.zero_shot import Seen
from gillnext.runtime.errors import UserError


def table(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_a_table_is_read_and_written_again(tmp_path):
    path = table(tmp_path / "names.tsv", "\ufeff猫\tcat\n红绿灯\ttraffic light\n\n盆栽\t\n")
    rows = phrases.read(path)
    assert rows == {"猫": "cat", "红绿灯": "traffic light", "盆栽": ""}
    phrases.write(path, rows)
    assert phrases.read(path) == rows
    assert phrases.read(table(path, "猫\n狗\n")) == {"猫": "猫", "狗": "狗"}


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("猫\tcat\n猫\tdog\n", 2, "twice"),
        ("猫\tcat\tx\n", 1, "more than one tab"),
        ("\tcat\n", 1, "needs a name"),
        ("猫 \tcat\n", 1, "needs a name"),
        ("猫\tcat. dog\n", 1, "ends a phrase"),
        ("猫\tbig  cat\n", 1, "in a row"),
    ],
)
def test_a_row_of_another_form_is_told_with_its_line_and_a_remedy(tmp_path, text, line, what):
    with pytest.raises(UserError, match=rf"names.tsv, line {line}: .*{what}[^\0]*remedy"):
        phrases.read(table(tmp_path / "names.tsv", text))


def test_an_empty_table_is_refused(tmp_path):
    with pytest.raises(UserError, match="no names"):
        phrases.read(table(tmp_path / "names.tsv", "\n\n"))


def test_names_of_one_phrase_are_one_class_and_those_without_are_unknown():
    classes, labels = open_vocabulary.classes_of({"猫": "cat", "盆栽": "", "狗": "dog", "小猫": "Cat"})
    assert classes == ["猫", "狗"] and labels == {"猫": 0, "狗": 1, "小猫": 0}


@pytest.fixture(scope="module")
def owl(tmp_path_factory):
    return folder("owlv2", tmp_path_factory.mktemp("owl") / "owlv2")


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    text = "猫\tcat\n小猫\tcat\n盆栽\t\n树\ttree\n红车\tred car\n"
    return table(tmp_path_factory.mktemp("names") / "names.tsv", text)


def test_a_detector_that_knows_no_name_is_refused_with_the_command_that_helps(owl, tmp_path):
    """Its tokenizer holds bytes: every Chinese name has tokens, and means nothing to it."""
    for text, count in (("猫\n树\n", "none of 2"), ("猫\t\n树\t\n", "none of 2"), ("cat\n猫\n树\n", "1 of 3")):
        with pytest.raises(UserError, match=rf"knows {count} names: not 猫、树[^\0]*gillnext names"):
            evaluators.load(owl, "cpu", table(tmp_path / "names.tsv", text))
    with pytest.raises(UserError, match="--names"):
        evaluators.load(owl, "cpu")


def test_an_evaluator_asks_each_picture_for_its_own_known_names(owl, names, monkeypatch):
    evaluator = evaluators.load(owl, "cpu", names, ZeroShot(least=0.2))
    assert isinstance(evaluator, OpenDetector) and labels_of(evaluator) == {"猫": 0, "小猫": 0, "树": 1, "红车": 2}
    asked = []

    def look_(images, phrases_, batch, least=0.0):
        asked.extend(map(list, phrases_))
        box = np.array([[0.1, 0.1, 0.5, 0.5]])
        return [Seen(box[: len(p)], np.arange(len(p))[-1:], np.ones(len(p))[:1], ((0, 1),), 3) for p in phrases_]

    monkeypatch.setattr(evaluator.detector, "look", look_)
    pixels = np.zeros((3, 8, 8, 3), np.uint8)
    found = look(evaluator, pixels, [("小猫", "盆栽", "树"), ("树", "树"), ("盆栽",)], 2)
    assert asked == [["cat", "tree"], ["tree"], []]
    assert [f.labels.tolist() for f in found] == [[1], [1], []]
    assert evaluator.counts == {open_vocabulary.UNSURE: 3, open_vocabulary.NAMELESS: 9}
    assert "4 of 5 names known" in evaluator.description
    asked.clear()
    evaluator.detect(pixels[:1], 2)
    assert asked == [["cat", "tree", "red car"]]


def test_what_is_found_does_not_hang_on_how_the_question_is_put(owl, names):
    evaluator = evaluators.load(owl, "cpu", names, ZeroShot(least=0.2))
    pixels = np.random.default_rng(0).integers(0, 255, (2, 30, 50, 3), dtype=np.uint8)
    found = evaluator.detect_named(list(pixels), [["小猫", "树"], ["红车"]], 2)
    seen = zero_shot.load(owl, ZeroShot(least=0.2)).look(list(pixels), [["cat", "tree"], ["red car"]], 1)
    assert [np.round(f.scores, 4).tolist() for f in found] == [np.round(s.scores, 4).tolist() for s in seen]
    assert set(found[1].labels) == {2} and set(found[0].labels) <= {0, 1}
