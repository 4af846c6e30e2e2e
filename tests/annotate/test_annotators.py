"""Vocabulary scan, and the detector as an annotator."""

import numpy as np
import pytest
from PIL import Image

from gillnext.annotate.base import Vocabulary, read_vocabulary
from gillnext.annotate.detector import DetectorAnnotator
from gillnext.boxes import problem
from gillnext.instruments.detections import Detections
from gillnext.miniatures.world.classes import BY_NAME
from gillnext.runtime.errors import UserError


class FakeNetwork:
    """Answers every image with the same detections; records what it was given."""

    classes, size = ["猫", "树", "花"], 64

    def __init__(self):
        self.seen = []

    def detect(self, images, batch):
        self.seen.append((images.shape, batch))
        boxes = np.array([[0.1, 0.1, 0.3, 0.3], [0.5, 0.5, 0.9, 0.9], [0, 0, 0.2, 0.2]])
        return [Detections(boxes, np.array([0, 0, 1]), np.array([0.7, 0.9, 0.4]))] * len(images)


def test_the_longest_name_wins_and_each_is_told_once_in_order():
    vocabulary = Vocabulary(["车", "汽车", "花", "花瓶", "a.b"])
    assert vocabulary.find("一辆汽车旁边有花瓶、花、汽车和自行车") == ["汽车", "花瓶", "花", "车"]
    assert vocabulary.find("axb a.b") == ["a.b"]
    assert vocabulary.find("特价包邮") == []


def test_every_class_of_the_world_is_found_in_its_own_phrase():
    vocabulary = Vocabulary(BY_NAME)
    assert all(vocabulary.find(f"图中有{kind.phrase}") == [name] for name, kind in BY_NAME.items())


def test_a_vocabulary_file_is_a_name_a_line(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("\ufeff猫\n\n 热气球 \n", encoding="utf-8")
    assert read_vocabulary(path).find("热气球和猫") == ["热气球", "猫"]
    path.write_text("\n\n", encoding="utf-8")
    with pytest.raises(UserError, match="no names"):
        read_vocabulary(path)
    for encoding in ("gbk", "utf-16"):
        path.write_text("热气球", encoding=encoding)
        with pytest.raises(UserError, match=r"names\.txt, line 1: .*UTF-8"):
            read_vocabulary(path)
    with pytest.raises(UserError, match=r"none\.txt: no such file"):
        read_vocabulary(tmp_path / "none.txt")


def test_the_detector_gives_the_best_box_of_a_name_or_the_reason_why_not():
    network = FakeNetwork()
    annotator = DetectorAnnotator(network, threshold=0.5)
    images = [Image.new("RGB", (64, 64)), Image.new("RGB", (200, 100))]
    found = annotator.annotate(images, ["", ""], [["树", "猫", "狗"], []])
    assert [(f.name, f.box, f.reason) for f in found[0]] == [
        ("树", None, "object not in the image"),
        ("猫", (0.5, 0.5, 0.9, 0.9), ""),
        ("狗", None, "a name that the detector does not know"),
    ]
    assert found[1] == [] and network.seen[0][0] == (2, 64, 64, 3)
    assert problem(found[0][1].box) is None


def test_the_detector_needs_names():
    with pytest.raises(UserError, match="names to look for"):
        DetectorAnnotator(FakeNetwork()).annotate([Image.new("RGB", (64, 64))], ["一只猫"], [None])
