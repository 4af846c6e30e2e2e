"""images.json: what is asked, and what is refused."""

import json

import numpy as np
import pytest
from PIL import Image

from gillnext.regions import asks
from gillnext.regions.asks import Ask
from gillnext.runtime.errors import UserError


def write(folder, content):
    path = folder / "images.json"
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return path


@pytest.fixture
def folder(tmp_path):
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "a.png")
    return tmp_path


def test_each_editing_prompt_is_an_edit(folder):
    path = write(folder, {"a.png": ["一只猫", "一辆汽车", "a red tree"]})
    found = asks.read(path, folder)
    assert [(ask.source, ask.prompt, ask.name) for ask in found] == [
        ("一只猫", "一辆汽车", "a"), ("一只猫", "a red tree", "a-1"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ({}, "names no pictures"),
        ({"b.png": ["一只猫", "一辆汽车"]}, "no such picture"),
        ({"a.png": ["一只猫"]}, "two prompts or more"),
        ({"a.png": "一只猫"}, "two prompts or more"),
        ({"a.png": ["一只猫", "猫"]}, "is one word"),
        ({"a.png": ["cat", "a dog"]}, "is one word"),
        ({"a.png": ["一只猫", 3]}, "is no text"),
        ({"../a.png": ["一只猫", "一辆汽车"]}, "outside the folder"),
    ],
)
def test_what_cannot_be_an_edit_is_told_with_its_entry(folder, content, what):
    with pytest.raises(UserError, match=what) as told:
        asks.read(write(folder, content), folder)
    assert "images.json" in str(told.value) and "remedy" in str(told.value)


def test_a_damaged_picture_is_told(folder):
    (folder / "b.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    with pytest.raises(UserError, match=r"b\.jpg.*cannot be read"):
        asks.picture(Ask("b.jpg", folder / "b.jpg", "一只猫", "一辆汽车"), None)
    whole = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(whole).save(folder / "c.jpg")
    (folder / "c.jpg").write_bytes((folder / "c.jpg").read_bytes()[:900])
    with pytest.raises(UserError, match=r"c\.jpg.*cannot be read"):
        asks.picture(Ask("c.jpg", folder / "c.jpg", "一只猫", "一辆汽车"), None)


def test_what_an_edit_changes_is_what_the_source_prompt_does_not_list():
    assert asks.change("一只猫、一朵花和一棵树", "一只猫、一辆汽车和一棵树") == "一辆汽车"
    assert asks.removed("一只猫、一朵花和一棵树", "一只猫、一辆汽车和一棵树") == "一朵花"
    assert asks.change("a cat and a tree", "a cat and a red car") == "a red car"
    assert asks.change("一只猫", "一只猫和一朵花") == "一朵花" and asks.removed("一只猫", "一只猫和一朵花") == ""
    assert asks.change("一只猫", "一只猫") == "一只猫"


def test_a_language_that_the_text_encoder_does_not_know_is_refused(clip, folder):
    known, partly = Ask("a", folder, "一只猫", "一辆汽车"), Ask("b", folder, "一只猫", "一辆红汽车")
    assert asks.check_known([known], clip.unknown, "images.json") == []
    (note,) = asks.check_known([partly], clip.unknown, "images.json")
    assert "20%" in note
    with pytest.raises(UserError, match=r"knows 0% of 'ein roter Wagen'"):
        asks.check_known([Ask("c", folder, "一只猫", "ein roter Wagen")], clip.unknown, "images.json")
