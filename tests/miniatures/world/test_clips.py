"""Clips of the drawn world: what they show, what tells the target, and that they are a function of their names."""

import json

import numpy as np
import pytest
from PIL import Image

from gillnext import boxes, layouts
from gillnext.config.load import from_dict
from gillnext.miniatures.world import clips, motions
from gillnext.miniatures.world.motions import LAST, TASKS, camera, motion
from gillnext.miniatures.world.objects import DRAWN
from gillnext.runtime import seeds
from gillnext.runtime.errors import UserError


def some(task, count=60):
    return [motion(task, seeds.rng("test", task, k)) for k in range(count)]


@pytest.mark.parametrize("task", TASKS)
def test_objects_stay_in_the_picture_and_apart(task):
    for one in some(task):
        boxes_FK4 = one.boxes_FK4
        assert boxes_FK4.shape[0] == 21 and boxes_FK4.min() >= 0.03 and boxes_FK4.max() <= 0.97
        sizes = boxes_FK4[..., 2:] - boxes_FK4[..., :2]
        assert np.allclose(sizes, sizes[:1])  # nothing grows or shrinks
        if boxes_FK4.shape[1] == 2 and task != "cover":
            for k in (0, LAST, LAST + 1):
                assert boxes.iou(boxes_FK4[k, :1], boxes_FK4[k, 1:])[0, 0] < 0.05


def test_what_drops_hangs_still_and_then_lies_on_the_ground():
    for one in some("drop"):
        seen, target = one.boxes_FK4[: LAST + 1], one.boxes_FK4[-1]
        assert (seen == seen[0]).all()
        assert target[0, 3] == pytest.approx(motions.GROUND) and target[0, 0] == seen[0, 0, 0]
        assert target[0, 1] - seen[0, 0, 1] > 0.3 and (target[1] == seen[0, 1]).all()


def test_what_covers_comes_a_part_of_its_way_and_hides_the_other():
    for one in some("cover"):
        hidden, hiding = one.boxes_FK4[:, one.acted], one.boxes_FK4[:, one.hiding]
        assert (hidden == hidden[0]).all() and one.hiding > one.acted  # drawn after it
        assert (hiding[-1, :2] < hidden[-1, :2]).all() and (hiding[-1, 2:] > hidden[-1, 2:]).all()
        assert np.allclose(hiding[LAST] - hiding[0], 0.25 * (hiding[-1] - hiding[0]))


def test_what_moves_rests_in_the_middle_so_that_its_last_frame_tells_no_direction():
    """By symmetry: to every clip belongs the one that is run backwards, with the same last frame."""
    ways = []
    for one in some("move", 200):
        start, rest, end = one.boxes_FK4[0, 0], one.boxes_FK4[LAST, 0], one.boxes_FK4[-1, 0]
        assert np.allclose(rest - start, end - rest) and (one.boxes_FK4[12 : LAST + 1, 0] == rest).all()
        assert boxes.iou(rest[None], end[None])[0, 0] < 0.5
        ways.append((end - rest)[:2])
    ways, rests = np.array(ways), np.array([one.boxes_FK4[LAST, 0] for one in some("move", 200)])
    axis = np.abs(ways).argmax(1)
    for k in (0, 1):
        forward = rests[(axis == k) & (ways[:, k] > 0), k]
        backward = rests[(axis == k) & (ways[:, k] < 0), k]
        assert min(len(forward), len(backward)) > 25
        apart = abs(forward.mean() - backward.mean())
        assert apart < 4 * np.sqrt(forward.var() / len(forward) + backward.var() / len(backward))


def test_the_camera_drifts_and_forgets():
    walks = np.stack([camera(0.01, seeds.rng("camera", k)) for k in range(2_000)])
    assert walks.shape == (2_000, 21, 2)
    assert walks.std() == pytest.approx(0.01, rel=0.05)
    assert np.corrcoef(walks[:, 3, 0], walks[:, 4, 0])[0, 1] == pytest.approx(0.8, abs=0.05)


def test_a_clip_is_a_function_of_its_names():
    first, again, other = (clips.make(3, split, 5, DRAWN, 0.01) for split in ("train", "train", "test"))
    assert first.scenes == again.scenes and first.instruction == again.instruction
    assert first.scenes != other.scenes


def test_what_is_written_is_the_notes_form_and_what_scoring_needs(tmp_path):
    config = from_dict({"frames": {"clips": {"train": 3, "val": 3, "test": 6}}})
    clips.run(config, tmp_path / "clips")
    folder = tmp_path / "clips/test"
    told = json.loads((folder / "metadata.json").read_text())
    assert [row["video_path"].partition("/")[0] for row in told] == [*TASKS, *TASKS]
    single = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    rows = layouts.read(folder / "truth.jsonl")
    for row, one, truth in zip(told, single, rows, strict=True):
        place = folder / row["video_path"]
        assert sorted(path.name for path in place.glob("*.jpg")) == [f"{k:02d}.jpg" for k in range(21)]
        assert one["edit_prompt"] == row["instruction"] == truth.caption
        assert one["file_name"] == one["input_image"] == f"{row['video_path']}/19.jpg"
        assert one["edited_image"] == truth.image_path == f"{row['video_path']}/20.jpg"
        assert truth.extra["object"] in truth.names and truth.extra["task"] == row["video_path"].partition("/")[0]
        if hidden := truth.extra.get("hidden"):
            assert hidden["name"] not in truth.names and hidden["name"] in row["instruction"]
        with Image.open(place / "changed.png") as image:
            white = np.asarray(image) > 0
        x1, y1, x2, y2 = np.array(truth.boxes[truth.names.index(truth.extra["object"])]) * 64
        assert white[int((y1 + y2) / 2), int((x1 + x2) / 2)] and 0.03 < white.mean() < 0.5


def test_a_world_of_cutouts_is_told():
    config = from_dict({"world": {"objects": "some/folder"}})
    with pytest.raises(UserError, match="clips are made of drawn objects alone"):
        clips.run(config, None)
