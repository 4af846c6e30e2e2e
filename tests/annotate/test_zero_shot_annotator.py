"""A zero-shot detector as the annotator: through the stage on a miniature, and with answers put in its mouth."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from zero_shot_miniatures import folder

from gillnext.annotate import stage
from gillnext.annotate.zero_shot import ABSENT, SAME, UNKNOWN, UNSURE, ZeroShotAnnotator
from gillnext.cli import main
from gillnext.config.load import from_dict
from gillnext.instruments.zero_shot import Seen
from gillnext.runtime.errors import UserError


@pytest.fixture(scope="module")
def dino(tmp_path_factory):
    return folder("grounding-dino", tmp_path_factory.mktemp("dino") / "dino")


class Fake:
    """A detector that sees the same in every picture, and reads everything but bare Chinese."""

    def __init__(self, seen):
        self.seen, self.asked = seen, []

    def reads(self, phrase):
        return phrase.isascii()

    def look(self, images, asked, batch, least):
        self.asked, self.least = asked, least
        return [self.seen] * len(images)


def test_each_name_gets_its_likeliest_box_or_the_reason_why_not():
    boxes = np.array([[0.1, 0.1, 0.5, 0.5], [0.2, 0.2, 0.6, 0.6], [0, 0, 1, 1]])
    fake = Fake(Seen(boxes, np.array([0, 0, 3]), np.array([0.9, 0.6, 0.5]), ((1, 2),)))
    rows = {"猫": "cat", "车": "car", "灯": "lamp", "树": "tree", "大树": "Tree", "盆栽": "", "狗": "狗", "鸟": "bird"}
    annotator = ZeroShotAnnotator(fake, rows, 0.35)
    (found,) = annotator.annotate(
        [Image.new("RGB", (8, 8))], [""], [["猫", "车", "灯", "鸟", "盆栽", "狗", "树", "大树"]]
    )
    assert fake.asked == [["cat", "car", "lamp", "bird", "tree"]] and fake.least == 0.35
    assert [(f.name, f.box, f.score, f.reason) for f in found] == [
        ("猫", (0.1, 0.1, 0.5, 0.5), 0.9, ""),
        ("车", None, 0.0, UNSURE),
        ("灯", None, 0.0, UNSURE),
        ("鸟", (0, 0, 1, 1), 0.5, ""),
        ("盆栽", None, 0.0, UNKNOWN),
        ("狗", None, 0.0, UNKNOWN),
        ("树", None, 0.0, SAME),
        ("大树", None, 0.0, SAME),
    ]
    assert annotator.annotate([Image.new("RGB", (8, 8))], [""], [["车"]])[0][0].reason == ""
    fake.seen = Seen(boxes[:0], np.zeros(0, int), np.zeros(0))
    assert annotator.annotate([Image.new("RGB", (8, 8))], [""], [["车"]])[0][0].reason == ABSENT


def write_rows(root, count=6):
    rng = np.random.default_rng(0)
    for i in range(count):
        size = (40 + 10 * i, 90 - 10 * i)
        Image.fromarray(rng.integers(0, 255, (*size, 3), dtype=np.uint8)).save(root / f"{i}.png")
    lines = [f"{i}.png\t{'一只猫和一棵树' if i % 2 else '红车与盆栽'}\n" for i in range(count)]
    (root / "pairs.tsv").write_text("".join(lines), encoding="utf-8")
    (root / "names.tsv").write_text("猫\tcat\n树\ttree\n红车\tred car\n盆栽\t\n", encoding="utf-8")


def test_the_stage_reads_the_folders_class_and_writes_layouts_of_any_sizes(dino, tmp_path):
    write_rows(tmp_path)
    settings = {"backend": "auto", "names": str(tmp_path / "names.tsv"), "threshold": 0.06, "batch": 4}
    text = json.dumps({"annotate": settings, "zero_shot": {"text": 0.4}})
    (tmp_path / "config.json").write_text(text)
    command = ["annotate", "--config", tmp_path / "config.json", "--tsv", tmp_path / "pairs.tsv", "--images", tmp_path]
    command += ["--model", dino, "--out", tmp_path / "layouts.jsonl"]
    assert main([str(part) for part in command]) == 0
    counts = json.loads((tmp_path / "layouts.json").read_text())
    assert counts["objects_dropped"][UNKNOWN] == 3 and counts["rows"] == 6
    assert counts["objects"] + sum(counts["objects_dropped"].values()) == 12
    assert counts["objects"] > 0
    for line in (tmp_path / "layouts.jsonl").read_text().splitlines():
        for thing in json.loads(line)["objects"]:
            x1, y1, x2, y2 = thing["bbox"]
            assert 0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1 and thing["name"] in ("猫", "树", "红车")


def test_a_backend_that_is_not_the_folders_is_refused(dino):
    for backend in ("detector", "vlm"):
        with pytest.raises(UserError, match=r"kind zero-shot, not [^\0]*annotate.backend: zero-shot"):
            stage.load_annotator(from_dict({"annotate": {"backend": backend}}), dino)


def test_names_are_needed_and_may_be_a_list_where_the_detector_reads_them(dino, tmp_path):
    config = {"annotate": {"backend": "zero-shot"}}
    with pytest.raises(UserError, match="needs the names"):
        stage.load_annotator(from_dict(config), dino)
    (tmp_path / "list.txt").write_text("猫\n树\n", encoding="utf-8")
    config["annotate"]["vocabulary"] = str(tmp_path / "list.txt")
    with pytest.raises(UserError, match=r"knows none of 2 names[^\0]*gillnext names"):
        stage.load_annotator(from_dict(config), dino)
    (tmp_path / "list.txt").write_text("cat\ntree\n", encoding="utf-8")
    annotator, vocabulary = stage.load_annotator(from_dict(config), dino)
    assert vocabulary.find("a cat") == ["cat"] and annotator.phrases == {"tree": "tree", "cat": "cat"}


def test_the_journal_is_of_its_names_and_thresholds(tmp_path):
    def name(**settings):
        return stage.job_name(from_dict({"annotate": settings.pop("annotate", {}), **settings}), "model")

    (tmp_path / "names.tsv").write_text("猫\tcat\n", encoding="utf-8")
    named = {"names": str(tmp_path / "names.tsv")}
    first = name(annotate=named)
    (tmp_path / "names.tsv").write_text("猫\tkitten\n", encoding="utf-8")
    assert len({first, name(annotate=named), name(), name(zero_shot={"text": 0.3}), name(zero_shot={"nms": 0.5})}) == 5
