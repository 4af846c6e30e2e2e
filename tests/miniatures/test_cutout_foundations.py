"""Every foundation of a world of cut-outs, trained for a step or two: its classes and its size come from the folder."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

from gillnext.config.data import World
from gillnext.config.model import Config
from gillnext.miniatures import (
    base,
    base_on_windows,
    ceilings,
    classifier,
    clip,
    evaluator,
    features,
    second_evaluator,
    templates,
    text_encoder,
    vae,
)
from gillnext.miniatures.world import heldout, objects
from gillnext.runtime import files
from gillnext.runtime.errors import UserError

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import cutout_folder

SIZE = 96


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = cutout_folder.make(tmp_path_factory.mktemp("cutouts") / "folder")
    small, plain = {"corpus": 6, "steps": 1, "batch": 2}, Config()
    changed = {
        name: dataclasses.replace(getattr(plain, name), **small) for name in ("evaluator", "features", "clip", "vae")
    }
    changed |= {name: dataclasses.replace(getattr(plain, name), **small) for name in ("text_encoder", "classifier")}
    made = dataclasses.replace(plain.base, window_steps=1, window_batch=2, channels=[32, 32, 32], threads=1, **small)
    return dataclasses.replace(plain, world=World(objects=str(folder), size=SIZE), base=made, **changed)


def test_the_base_is_of_its_size(config, tmp_path):
    vae.train(config, tmp_path / "vae")
    text_encoder.train(config, tmp_path / "text")
    base_on_windows.train(config, tmp_path / "vae", tmp_path / "text", tmp_path / "windows")
    base.train(config, tmp_path / "vae", tmp_path / "text", tmp_path / "windows", tmp_path / "base")
    assert files.read_json(tmp_path / "base/unet/config.json")["sample_size"] == SIZE // 4
    assert files.read_json(tmp_path / "base/vae/config.json")["sample_size"] == SIZE


def test_what_judges_knows_its_kinds(config, tmp_path, monkeypatch):
    for module in (features, clip):
        monkeypatch.setattr(module, "HELD_OUT", 3)
    monkeypatch.setattr("gillnext.miniatures.detectors.HELD_OUT", 3)
    names = objects.of(config).names
    for module in (evaluator, second_evaluator):
        module.train(config, tmp_path / module.__name__)
        told = files.read_json(tmp_path / module.__name__ / "config.json")
        assert told["classes"] == names and told["size"] == SIZE
    features.train(config, tmp_path / "features")
    assert len(names) in files.read_json(tmp_path / "features/config.json").values()
    clip.train(config, tmp_path / "clip")
    assert files.read_json(tmp_path / "clip/config.json")["vision_config"]["image_size"] == SIZE
    classifier.train(config, tmp_path / "classifier")


def test_the_real_pictures_of_test_layouts_are_its_own(config):
    made = objects.of(config)
    rows = heldout.make(1, "test", 3, made)
    pictures = ceilings.render(rows, 1, "x", made)
    assert np.array_equal(pictures[1], made.render(made.sample(1, "test", 1)))
    with pytest.raises(UserError, match="is not scene 0"):
        ceilings.render(rows, 1, "x", objects.DRAWN)


def test_it_has_no_templates(config):
    with pytest.raises(UserError, match="no templates") as error:
        templates.check(config.world.objects)
    assert "second_evaluator" in error.value.remedy
