"""The score file of conversations, by stand-ins whose answers are known."""

import numpy as np
import pytest

from gillnext import conversations, layouts
from gillnext.chat import index, score
from gillnext.chat.ways import TRUTH, true_layout
from gillnext.conversations import Conversation, Turn
from gillnext.instruments.detections import Detections
from gillnext.layouts import Layout
from gillnext.runtime.errors import UserError
from gillnext.score import images

COLOURS = {"红": (250, 0, 0), "绿": (0, 250, 0), "蓝": (0, 0, 250)}
LEFT, RIGHT = (0.0, 0.25, 0.5, 0.75), (0.5, 0.25, 1.0, 0.75)


class Judge:
    """An evaluator and image-text scorer of halves: a colour in the left half, another in the right."""

    classes, description, hash = list(COLOURS), "halves", "h"

    def detect(self, pictures, batch):
        return [self._seen(one) for one in pictures]

    @staticmethod
    def _seen(picture):
        found = []
        for half, box in ((picture[:, :32], LEFT), (picture[:, 32:], RIGHT)):
            mean = half.reshape(-1, 3).mean(0)
            if mean.max() > 100:
                found.append((int(mean.argmax()), box))
        labels, places = np.array([f[0] for f in found], int), np.array([f[1] for f in found], float).reshape(-1, 4)
        return Detections(places, labels, np.full(len(found), 0.9))

    def pictures(self, paths):
        rows = np.array([np.bincount(self._seen(index.read_picture(p)[0]).labels, minlength=3) for p in paths])
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def texts(self, texts):
        rows = np.array([[text.count(word) + 1e-3 for word in COLOURS] for text in texts])
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def too_long(self, texts):
        return sum(len(text) > 8 for text in texts)


def picture(left, right):
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:, :32], pixels[:, 32:] = COLOURS.get(left, (0, 0, 0)), COLOURS.get(right, (0, 0, 0))
    return pixels


PAIRS = [("红", "绿"), ("绿", "蓝"), ("蓝", "红")]


@pytest.fixture
def world(tmp_path):
    """Test stories of two turns about two colours, a gallery of the same pictures, and two ways of drawing them."""
    rows, gallery = [], []
    for i, (left, right) in enumerate(PAIRS):
        images.Image.fromarray(picture(left, right)).save(tmp_path / f"{i}.png")
        layout = Layout(f"{left}在{right}的左边", (left, right), (LEFT, RIGHT))
        told = ((0, "left", 1),)
        rows.append(Conversation(f"s{i}", "story", (Turn(f"{left}。"), Turn(f"{right}。", f"{i}.png", layout, told))))
        gallery.append(Conversation(f"g{i}", "caption", (Turn(layout.caption, f"{i}.png", layout, told),)))
    conversations.write(tmp_path / "test.jsonl", rows)
    conversations.write(tmp_path / "gallery.jsonl", gallery)
    truth = [true_layout(row) for row in rows]
    layouts.write(tmp_path / f"drawn/{TRUTH}", truth)
    images.write(tmp_path / "drawn/caption", [picture(*pair) for pair in PAIRS], truth)
    swapped = [picture(right, left if i else "") for i, (left, right) in enumerate(PAIRS)]
    images.write(tmp_path / "drawn/last", swapped, truth)
    return tmp_path


@pytest.fixture
def report(world, talker, monkeypatch, tiny_config):
    said = ["红在绿的左边", "绿在蓝的右边", "红和绿"]
    monkeypatch.setattr(talker, "caption", lambda paths: said)
    return score.converse(
        tiny_config, talker, Judge(), Judge(), world / "test.jsonl", world / "gallery.jsonl", [world / "drawn"], None
    )


def test_captions_are_scored_by_what_they_name_and_state(report):
    scores = report["captioning"]["gallery"]
    # Named: both, both, and of 蓝 and 红 the latter beside 绿; stated: one right and one wrong.
    assert scores["metrics"]["recall"] == pytest.approx(5 / 6, abs=1e-6)
    assert scores["metrics"]["precision"] == pytest.approx(5 / 6, abs=1e-6)
    assert scores["metrics"]["relations"] == 0.5 and scores["counts"]["relations"] == 2
    assert scores["chance"]["recall"] == pytest.approx((1 + 1 + 1) / 6, abs=1e-6)
    assert scores["ceiling"]["recall"] == scores["ceiling"]["relations"] == scores["ceiling"]["bleu"] == 1
    assert scores["baseline"]["recall"] == 0.5  # another picture has one colour in common
    assert scores["examples"][2] == {"id": "g2", "caption": "红和绿", "true": "蓝在红的左边"}


def test_bleu_is_that_of_characters():
    assert score.bleu(["一只猫和一棵树"], ["一只猫和一棵树"]) == pytest.approx(1.0)
    # One of eight characters differs: precisions 7/8, 5/7, 3/6, 1/5 of one to four characters, no brevity penalty.
    value = (7 / 8 * 5 / 7 * 3 / 6 * 1 / 5) ** 0.25
    assert score.bleu(["一只猫和一条狗狗"], ["一只猫和两条狗狗"]) == pytest.approx(value, abs=1e-4)


def test_retrieval_is_told_by_turns_with_its_baseline_and_chance(report):
    scores = report["retrieval"]
    assert set(scores) == {"gallery", "story"} and set(scores["gallery"]) == {"1"}
    assert set(scores["story"]) == {"1", "2", "all", "pictures"}
    assert scores["story"]["2"]["baseline"]["metrics"]["r1"] == 1.0  # both colours tell the picture
    assert scores["story"]["1"]["baseline"]["metrics"]["r1"] == 0.0  # one fits two pictures: both stand before
    assert scores["story"]["2"]["chance"] == {"r1": pytest.approx(1 / 3, abs=1e-6), "r5": 1.0, "r10": 1.0}
    assert scores["story"]["2"]["rows"] == 3 and scores["story"]["2"]["metrics"]["r5"] == 1.0


def test_pictures_are_scored_by_class_and_by_place(report):
    classes, places = report["generation"]["story"], report["placement"]["story"]
    assert classes["caption"]["metrics"] == {"recall": 1.0, "precision": 1.0, "f1": 1.0, "extra": 0.0}
    assert classes["last"]["metrics"]["recall"] == pytest.approx(5 / 6, abs=1e-6)
    assert classes["last"]["metrics"]["precision"] == 1.0
    assert places["caption"]["metrics"] == {"success50": 1.0, "relations": 1.0, "present": 1.0}
    assert places["last"]["metrics"] == {"success50": 0.0, "relations": 0.0, "present": pytest.approx(2 / 3, abs=1e-6)}
    assert places["last"]["chance"]["relations"] == pytest.approx(1 / 3)
    assert classes["caption"]["chance"]["recall"] == 0.5
    assert places["caption"]["chance"]["success50"] == 1.0  # all stories here have the same boxes
    assert report["hashes"].keys() >= {"gill", "image_text", "test", "gallery", "pictures/caption", "pictures/last"}


def test_contrasts_are_paired(report, world, talker, tiny_config):
    drawn = world / "drawn"
    (drawn / "last").rename(drawn / "gill-shuffled")
    images.write(drawn / "gill-pictures", [picture(*pair) for pair in PAIRS], layouts.read(drawn / TRUTH))
    report = score.converse(
        tiny_config, talker, Judge(), Judge(), world / "test.jsonl", world / "gallery.jsonl", [drawn], None
    )
    found = report["contrasts"]["story"]["gill-pictures − gill-shuffled"]
    assert found["recall"]["value"] == pytest.approx(1 / 6, abs=1e-6)
    assert found["success50"] == {"value": 1.0, "interval": [1.0, 1.0]}


def test_pictures_of_other_conversations_and_missing_ones_are_refused(world, talker, tiny_config):
    def run(test="test.jsonl"):
        score.converse(
            tiny_config, talker, Judge(), Judge(), world / test, world / "gallery.jsonl", [world / "drawn"], None
        )

    conversations.write(world / "two.jsonl", conversations.read(world / "test.jsonl")[:2])
    with pytest.raises(UserError, match="pictures of other conversations"):
        run("two.jsonl")
    (world / "1.png").unlink()
    with pytest.raises(UserError, match="last picture of 's1' is missing"):
        run()
