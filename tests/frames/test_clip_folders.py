"""Clips of a folder: what is read, written as a dataset, and told where something is wrong."""

import json
import shutil

import datasets
import numpy as np
import pytest
from PIL import Image

from gillnext.frames import clips, dataset, rows
from gillnext.runtime.errors import UserError


@pytest.fixture
def folder(clips_folder, tmp_path):
    return shutil.copytree(clips_folder, tmp_path / "clips")


def test_a_dataset_is_what_hugging_face_reads(data, clips_folder):
    found = datasets.load_from_disk(str(data))
    assert {split: len(part) for split, part in found.items()} == {"train": 6, "val": 3, "test": 3}
    assert found["train"].features["edited_image"] == datasets.Image()
    assert found["train"].features["input_frames"] == datasets.List(datasets.Value("string"))
    told = json.loads((clips_folder / "train/metadata.json").read_text())
    row = found["train"][4]
    assert row["input_frames"] == [f"{told[4]['video_path']}/{k:02d}.jpg" for k in range(20)]
    assert row["edit_prompt"] == told[4]["instruction"]
    target = Image.open(clips_folder / "train" / told[4]["video_path"] / "20.jpg")
    assert np.array_equal(np.asarray(row["edited_image"]), np.asarray(target))


def test_the_same_clips_are_the_same_files(data, clips_folder, settings, tmp_path):
    dataset.write(settings(), clips_folder, tmp_path / "again")
    for split in ("train", "val", "test"):
        for file in (data / split).iterdir():
            assert file.read_bytes() == (tmp_path / "again" / split / file.name).read_bytes(), file


def test_single_pictures_are_read_from_their_table(clips_folder, settings, tmp_path):
    folder = shutil.copytree(clips_folder, tmp_path / "clips")
    for split in ("train", "val", "test"):
        (folder / split / "metadata.json").unlink()
    with pytest.raises(UserError, match="single frames, and 20 are asked for"):
        dataset.write(settings(), folder, tmp_path / "out")
    dataset.write(settings(count=1), folder, tmp_path / "out")
    found = rows.load(tmp_path / "out")["test"]
    assert found["input_frames"][1] == ["cover/00000/19.jpg"]
    expected = Image.open(clips_folder / "test/cover/00000/20.jpg")
    assert np.array_equal(np.asarray(found[1]["edited_image"]), np.asarray(expected))


def spoil(folder, how):
    clip = folder / "train/cover/00001"
    if how == "19":
        (clip / "20.jpg").unlink()
        (clip / "19.jpg").unlink()
    elif how == "hole":
        (clip / "07.jpg").unlink()
    elif how == "22":
        shutil.copy(clip / "20.jpg", clip / "21.jpg")
    elif how == "size":
        Image.new("RGB", (60, 64)).save(clip / "11.jpg")
    elif how == "corrupt":
        data = bytearray((clip / "09.jpg").read_bytes())
        (clip / "09.jpg").write_bytes(data[: len(data) // 3])
    elif how == "small":
        for k in range(21):
            Image.new("RGB", (9, 9)).save(clip / f"{k:02d}.jpg")
    elif how == "gone":
        shutil.rmtree(clip)


WRONG = {
    "19": (r"frame 19\.jpg: the frame is missing; it has 19 frames and not 21"),
    "hole": (r"frame 07\.jpg: the frame is missing; it has 20 frames and not 21"),
    "22": (r"frame 21\.jpg: it has 22 frames and not 21"),
    "size": (r"frame 11\.jpg: it has 60×64 pixels, the first frame 64×64"),
    "corrupt": (r"frame 09\.jpg: the picture cannot be read"),
    "small": (r"frame 00\.jpg: 9×9 pixels are too few"),
    "gone": (r"no such folder"),
}


@pytest.mark.parametrize("how", WRONG)
def test_what_is_wrong_with_a_clip_is_told_with_clip_and_frame(folder, settings, tmp_path, how):
    spoil(folder, how)
    with pytest.raises(UserError, match=WRONG[how]) as error:
        dataset.write(settings(), folder, tmp_path / "out")
    assert "clip cover/00001" in str(error.value) and not (tmp_path / "out").exists()


def test_broken_clips_are_left_out_and_counted_where_that_is_asked_for(folder, settings, tmp_path):
    spoil(folder, "corrupt")
    shutil.rmtree(folder / "train/move/00000")
    about = dataset.write(settings(broken="drop"), folder, tmp_path / "out")
    assert about["clips"]["train"] == 4
    assert about["left_out"]["train"] == {"no such folder": 1, "the picture cannot be read": 1}
    names = {frames[0].rpartition("/")[0] for frames in rows.load(tmp_path / "out")["train"]["input_frames"]}
    assert names == {"drop/00000", "cover/00000", "drop/00001", "move/00001"}


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("{}", "it is no list"),
        ('[{"video_path": "a"}]', "'instruction' is missing"),
        ('[{"video_path": 3, "instruction": "b"}]', "'video_path' is 3 and not text"),
        ('[{"video_path": "../a", "instruction": "b"}]', "leads out of the folder"),
        ('[{"video_path": "a", "instruction": " "}]', "'instruction' is ' ' and not text"),
        ('["a"]', "is no object"),
    ],
)
def test_what_is_wrong_with_the_file_is_told_with_its_row(tmp_path, content, what):
    (tmp_path / "metadata.json").write_text(content)
    with pytest.raises(UserError, match=what):
        list(clips.read(tmp_path, 20))


def test_a_clip_that_stands_twice_is_told(tmp_path):
    (tmp_path / "a").mkdir()
    for k in range(3):
        Image.new("RGB", (32, 32)).save(tmp_path / f"a/{k:02d}.jpg")
    (tmp_path / "metadata.json").write_text(
        '[{"video_path": "a", "instruction": "b"}, {"video_path": "a", "instruction": "c"}]'
    )
    with pytest.raises(UserError, match="'a' stands in row 0 too"):
        list(clips.read(tmp_path, 2))


def test_a_folder_without_either_file_is_told(tmp_path):
    with pytest.raises(UserError, match=r"neither metadata\.json nor metadata\.jsonl"):
        list(clips.read(tmp_path, 20))
