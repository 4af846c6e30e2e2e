"""The examples run as a reader runs them, on miniatures, and draw boxes."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gillnext.adapter.model import SpatialAdapter
from gillnext.adapter.pipeline import load
from gillnext.language import model
from gillnext.language.tokenizer import train_tokenizer
from gillnext.planner import format as plan_format

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs an example as `python examples/NAME …` does; gives its picture's pixels and what it printed."""

    def start(name, *arguments):
        out = tmp_path / "picture.png"
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments), str(out), "--steps", "2"])
        runpy.run_path(str(ROOT / "examples" / name), run_name="__main__")
        return np.asarray(Image.open(out)), capsys.readouterr().out

    return start


def adapter(base, folder, awake):
    torch.manual_seed(0)
    awake(SpatialAdapter.for_unet(load(base).unet, width=16)).save_pretrained(folder)
    return folder


def test_there_are_three_short_ones():
    assert len(EXAMPLES) == 3 and all(len(path.read_text().splitlines()) <= 40 for path in EXAMPLES)


def test_boxes_are_drawn(run, tiny_base, awake, tmp_path):
    picture, _ = run("draw_from_boxes.py", tiny_base, adapter(tiny_base, tmp_path / "a", awake))
    assert picture.shape == (64, 64, 3) and picture.std() > 1


def test_a_caption_is_planned_and_drawn(run, tiny_base, awake, tmp_path):
    tokenizer = train_tokenizer(["左边是一棵树，右边是一只猫"] * 2, 700, [*plan_format.tokens(), "猫", "树"])
    untrained = model.build(tokenizer, hidden=32, layers=1, heads=2, name="planner", seed=0)
    model.save(untrained, tokenizer, tmp_path / "planner", {"nouns": ["猫", "树"]}, "planner")
    arguments = [tiny_base, adapter(tiny_base, tmp_path / "a", awake), tmp_path / "planner", "一只猫"]
    picture, printed = run("draw_from_a_caption.py", *arguments)
    assert all(line.split()[0] in ("猫", "树") for line in printed.splitlines())
    assert picture.shape == (64, 64, 3) and picture.std() > 1


def test_a_diffusers_pipeline_gets_boxes(run, tiny_sdxl, awake, tmp_path):
    boxed, _ = run("attach_to_diffusers.py", tiny_sdxl, adapter(tiny_sdxl, tmp_path / "a", awake))
    assert boxed.shape == (64, 64, 3) and boxed.std() > 1
