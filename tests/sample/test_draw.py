"""`gillnext draw`: caption and boxes in, picture out; bad boxes are named, never bent into shape."""

import json
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image

from gillnext import cli, overlay
from gillnext.adapter.model import SpatialAdapter
from gillnext.adapter.pipeline import GroundedKolorsPipeline
from gillnext.layouts import Layout

CAPTION = "一只猫和一棵树"
UNIT = {"猫": [0.1, 0.3, 0.5, 0.8], "树": [0.6, 0.1, 0.95, 0.6]}


@pytest.fixture(scope="module")
def adapter_folder(tmp_path_factory, tiny_base, awake):
    folder = tmp_path_factory.mktemp("draw")
    torch.manual_seed(0)
    adapter = SpatialAdapter.for_unet(GroundedKolorsPipeline.from_folders(tiny_base).unet, width=16)
    awake(adapter).save_pretrained(folder)
    return folder


@pytest.fixture
def draw(tiny, adapter_folder, tmp_path, capsys):
    """Runs the command with a boxes file; gives exit code, printed text and picture."""

    def run(boxes, *extra, name="picture.png"):
        path, out = tmp_path / "boxes.json", tmp_path / name
        path.write_text(boxes if isinstance(boxes, str) else json.dumps(boxes))
        arguments = ["draw", CAPTION, "--config", tiny.config_file, "--base", tiny.base, "--adapter", adapter_folder,
                     "--boxes", path, "--out", out, "--scale", 2, *extra]  # fmt: skip
        code = cli.main([str(a) for a in arguments])
        printed = capsys.readouterr()
        return code, printed.out + printed.err, np.asarray(Image.open(out)) if out.exists() else None

    return run


def test_boxes_by_name_or_in_a_list_or_as_a_layout_give_the_same_picture(draw):
    code, printed, picture = draw(UNIT)
    assert code == 0 and picture.shape == (128, 128, 3)
    assert "猫 [0.10, 0.30, 0.50, 0.80]" in printed and "树 [0.60, 0.10, 0.95, 0.60]" in printed
    rows = [{"name": name, "bbox": box} for name, box in UNIT.items()]
    for same in (rows, {"objects": rows}):
        np.testing.assert_array_equal(draw(same, name="again.png")[2], picture)
    moved = UNIT | {"猫": [0.5, 0.3, 0.9, 0.8]}
    assert (draw(moved, name="moved.png")[2] != picture).any()


def test_other_conventions_are_named(draw):
    expected = draw(UNIT)[2]
    thousandths = {name: [v * 1000 for v in box] for name, box in UNIT.items()}
    for convention in ("thousandths", "auto"):
        code, printed, picture = draw(thousandths, "--convention", convention, name=f"{convention}.png")
        assert code == 0, printed
        assert np.abs(picture.astype(int) - expected).max() <= 1  # 0.95·1000/1000 may differ in its last bit


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ([0.5, 0.3, 0.1, 0.8], "reversed"),
        ([0.1, 0.3, 0.1, 0.8], "reversed or empty"),
        ([-0.1, 0.3, 0.5, 0.8], "out of the range"),
        ([0.1, 0.3, 0.5, 1.2], "out of the range"),
        ([600, 100, 950, 600], "looks like 0–1000"),
        ([0.1, 0.3, 0.5], "3 numbers"),
        ([0.1, 0.3, 0.5, "x"], "not a finite number"),
    ],
)
def test_a_bad_box_is_refused_with_its_file_and_object(box, reason, draw):
    code, printed, picture = draw({"猫": UNIT["猫"], "树": box})
    assert code == 2 and picture is None
    assert "boxes.json, box 1" in printed and reason in printed and "remedy" in printed


@pytest.mark.parametrize(
    ("boxes", "reason"),
    [
        ("{", "not JSON"),
        ([{"name": "猫"}], "lacks or misuses 'bbox'"),
        (5, "lacks or misuses"),
        ([{"name": f"猫{i}", "bbox": UNIT["猫"]} for i in range(7)], "7 boxes"),
        ({"猫": [1, 300, 500, 800], "树": [0.6, 0.1, 0.95, 0.6]}, "out of the range"),
    ],
)
def test_a_bad_file_is_refused(boxes, reason, draw):
    code, printed, picture = draw(boxes)
    assert code == 2 and picture is None and reason in printed


def test_mixed_conventions_are_not_guessed(draw):
    code, printed, _ = draw({"猫": [100, 300, 500, 800], "树": [0.6, 0.1, 0.95, 0.6]}, "--convention", "auto")
    assert code == 2 and "some boxes are in 0–1 and others in 0–1000" in printed


def test_boxes_are_shown_over_the_picture(draw):
    plain, shown = draw(UNIT)[2], draw(UNIT, "--show-boxes", name="shown.png")[2]
    orange = np.array([0xD5, 0x5E, 0x00])
    left, top, right, bottom = (round(v * 128) for v in UNIT["猫"])
    marked = (shown == orange).all(-1)
    for side in (marked[top:bottom, left - 1 : left + 2], marked[top:bottom, right - 1 : right + 2]):
        assert side.any(1).all()  # in every row a pixel of the frame, to within a pixel
    assert marked[bottom - 1 : bottom + 2, left:right].any(0).all()
    assert shown.shape == plain.shape


def test_chinese_names_have_glyphs_in_the_overlay():
    font = overlay.font(20)
    drawn = {name: bytes(font.getmask(name)) for name in ("猫", "树", "\U0010fffe")}
    assert len(set(drawn.values())) == 3  # none of them is the sign of a missing glyph


class FakePlanner:
    asked: ClassVar[list[list[str]]] = []

    @classmethod
    def from_pretrained(cls, folder):
        return cls()

    def plan(self, captions):
        self.asked.append(captions)
        return [Layout(c, tuple(UNIT), tuple(map(tuple, UNIT.values()))) for c in captions]


def test_without_boxes_the_planner_places_the_objects(draw, tiny, adapter_folder, tmp_path, monkeypatch, capsys):
    expected = draw(UNIT)[2]
    monkeypatch.setattr("gillnext.sample.draw.Planner", FakePlanner)
    arguments = ["draw", CAPTION, "--config", tiny.config_file, "--base", tiny.base, "--adapter", adapter_folder,
                 "--planner", tmp_path, "--out", tmp_path / "planned.png", "--scale", 2]  # fmt: skip
    assert cli.main([str(a) for a in arguments]) == 0
    assert FakePlanner.asked == [[CAPTION]]
    assert "猫 [0.10, 0.30, 0.50, 0.80]" in capsys.readouterr().out
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "planned.png")), expected)


def test_models_that_are_not_there_are_named(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["draw", CAPTION, "--config", str(tiny.config_file)]) == 2
    printed = capsys.readouterr().err
    assert "the base is not there" in printed and "make paper" in printed
    assert cli.main(["draw", CAPTION, "--config", str(tiny.config_file), "--boxes", "none.json"]) == 2
    assert "none.json: no such file" in capsys.readouterr().err
