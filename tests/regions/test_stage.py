"""The command: pictures out, whatever is named; killed and shared runs end the same; bad input is told."""

import argparse
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from gillnext.config.regions import Regions
from gillnext.regions import keep, score, stage
from gillnext.regions.editor import Editor
from gillnext.regions.stage import Task
from gillnext.runtime import files
from gillnext.runtime.errors import UserError

SMALL = Regions(
    point_number=2, windows=2, min_window_size=1, max_window_size=3, per_image_iteration=2, width=8, steps=1,
    guidance=1.5, apart=1, smooth=1,
)  # fmt: skip
WAYS = ("learned", "random", "centre", "true")


@pytest.fixture
def editor(tiny_base, eyes_folder, clip_folder):
    return Editor.open(SMALL, tiny_base, None, eyes_folder, clip_folder, "cpu")


def task(asked, ways=WAYS, seeds=(0, 1), draw_box=False):
    from gillnext.regions import asks

    rows = asks.read(asked / "images.json", asked / "images")
    return Task(rows, ways, seeds, stage.read_truth(asked / "truth.jsonl"), draw_box)


def test_every_way_and_seed_has_its_pictures(tiny_config, editor, asked, tmp_path):
    out = tmp_path / "edited"
    stage.run(tiny_config, editor, task(asked), 7, out, [])
    rows = list(files.read_jsonl(out / stage.REGIONS))
    assert [row["name"] for row in rows] == ["0", "1", "2"]
    for way, seeds in (("learned", "01"), ("random", "01"), ("centre", "0"), ("true", "0")):
        for seed in seeds:
            assert sorted(path.name for path in (out / way / seed).iterdir()) == ["0.png", "1.png", "2.png"]
    source = np.asarray(Image.open(asked / "images/0.png"))
    edited = np.asarray(Image.open(out / "learned/0/0.png"))
    x1, y1, x2, y2 = (round(v * 64) for v in rows[0]["ways"]["learned"]["0"]["box"])
    changed = np.argwhere((source != edited).any(-1))
    assert len(changed) and (changed >= (y1, x1)).all() and (changed < (y2, x2)).all()
    assert rows[0]["ways"]["true"]["0"]["box"] == list(task(asked).truth["0.png"])


def test_a_run_that_was_cut_off_goes_on_and_processes_share_it(tiny_config, editor, asked, tmp_path, monkeypatch):
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    stage.run(tiny_config, editor, task(asked), 7, whole, [])
    own, done = stage.one, []

    def one(*args):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(args[2].name)
        return own(*args)

    monkeypatch.setattr(stage, "one", one)
    with pytest.raises(KeyboardInterrupt):
        stage.run(tiny_config, editor, task(asked), 7, parted, [])
    monkeypatch.setattr(stage, "one", lambda *args: done.append(args[2].name) or own(*args))
    stage.run(tiny_config, editor, task(asked), 7, parted, [])
    assert done == ["0", "1", "2"]
    assert files.sha256(whole) == files.sha256(parted)


def test_each_process_edits_its_own_share(editor, asked, tmp_path):
    for index in range(2):
        state = argparse.Namespace(process_index=index, num_processes=2)
        stage.edit_all(editor, task(asked, ("centre",), (0,)), 7, tmp_path / str(index), state)
    shares = [sorted(path.stem for path in (tmp_path / str(i) / "rows").iterdir()) for i in range(2)]
    assert shares == [["0", "2"], ["1"]]


def test_box_and_anchors_are_drawn_if_asked(tiny_config, editor, asked, tmp_path):
    out = tmp_path / "edited"
    stage.run(tiny_config, editor, task(asked, ("learned",), (0,), True), 7, out, [])
    assert sorted(path.name for path in out.glob("0*")) == ["0-box.png", "0.png"]
    assert Image.open(out / "0-box.png").size == (512, 256)


def test_options_stand_above_the_settings(tiny_config):
    named = dict.fromkeys(stage.OPTIONS) | {"point_number": 3, "lr": 0.5}
    found = stage.settings_of(tiny_config, argparse.Namespace(**named))
    assert found.point_number == 3 and found.lr == 0.5 and found.max_window_size == tiny_config.regions.max_window_size
    with pytest.raises(UserError, match="--point-number 0"):
        stage.settings_of(tiny_config, argparse.Namespace(**named | {"point_number": 0}))


def test_scores_and_shown_pictures_of_edits(tiny_config, editor, asked, tmp_path):
    """Of a copy of the source nothing has changed; an edit in the true box leaves all else as it was."""
    from gillnext.instruments.detections import Detections

    class Blind:
        classes, description = ["汽车"], "blind"

        def detect(self, images, batch):
            return [Detections(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0)) for _ in images]

    class Flat:
        def __init__(self):
            import torch

            self.parameter = torch.zeros(1)

        def parameters(self):
            return iter([self.parameter])

        def __call__(self, pixels):
            return pixels.mean((2, 3))

    out = tmp_path / "edited"
    stage.run(tiny_config, editor, task(asked), 7, out, [])
    truth = score.Truth.read(asked)
    found = score.score(truth, score.Judge(Blind(), Flat(), editor.clip), out)
    ways = found["ways"]
    assert set(ways) == {"unchanged", *WAYS} and ways["learned"]["all"]["seeds"] == 2
    assert ways["unchanged"]["all"]["scores"]["psnr"]["value"] is None  # infinite
    assert ways["true"]["all"]["scores"]["psnr"]["value"] is None and ways["true"]["all"]["scores"]["iou"]["value"] == 1
    assert ways["centre"]["all"]["scores"]["psnr"]["value"] > 0
    assert all(parts["all"]["scores"]["success"]["value"] == 0 for parts in ways.values())
    assert "learned − random" in found["contrasts"]
    keep.write(asked, {"filled": out}, tmp_path / "shown.zip")
    with zipfile.ZipFile(tmp_path / "shown.zip") as archive:
        assert "source/0.png" in archive.namelist() and "filled/learned/0.png" in archive.namelist()
    shown = keep.Shown(tmp_path / "shown.zip")
    assert (shown.image("source/1.png") == np.asarray(Image.open(asked / "images/1.png"))).all()


def test_scores_of_other_pictures_are_refused(tiny_config, editor, asked, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / stage.REGIONS).write_text(json.dumps({"file": "x.png", "ways": {}}) + "\n")
    with pytest.raises(UserError, match="edits of other pictures"):
        score.score(score.Truth.read(asked), score.Judge.__new__(score.Judge), other)
