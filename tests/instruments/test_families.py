"""Families told from config.json alone."""

import json
import os
import subprocess
import sys

import pytest

from gillnext.instruments import families
from gillnext.runtime.errors import UserError


def holding(path, **config):
    path.mkdir()
    (path / "config.json").write_text(json.dumps(config))
    return path


def test_models_of_one_family_are_told_whatever_their_size_or_generation(tmp_path):
    one = holding(tmp_path / "a", model_type="qwen2_vl")
    other = holding(tmp_path / "b", model_type="qwen2_5_vl")
    dino = holding(tmp_path / "c", model_type="grounding-dino", architectures=["GroundingDinoForObjectDetection"])
    owl, house = holding(tmp_path / "d", model_type="owlv2"), holding(tmp_path / "e", architecture="gillnext-fcos")
    bigger = holding(tmp_path / "f", model_type="grounding-dino", d_model=512)
    assert families.same_family(one, other) and families.same_family(dino, bigger)
    with pytest.raises(
        UserError, match=r"models.evaluator: .*own family \(Qwen-VL\)[^\0]*remedy: name an evaluator of"
    ):
        families.refuse_same(one, other)
    families.refuse_same(one, dino)
    for pair in ((one, dino), (dino, owl), (owl, house), (house, one)):
        assert not families.same_family(*pair)
    assert [families.backend(families.model_type(p)) for p in (one, dino, owl, house)] == [
        "vlm", "zero-shot", "zero-shot", "detector",
    ]  # fmt: skip


def test_the_same_folder_and_the_same_files_of_weights_are_one_family(tmp_path):
    one, other = holding(tmp_path / "a", model_type="x"), holding(tmp_path / "b", model_type="y")
    assert not families.same_family(one, other)
    (one / "model.safetensors").write_bytes(b"1")
    os.symlink(one / "model.safetensors", other / "model.safetensors")
    assert families.same_family(one, other)
    os.symlink(one, tmp_path / "link")
    assert families.same_family(one, tmp_path / "link")


def test_a_folder_without_a_readable_config_is_told(tmp_path):
    with pytest.raises(UserError, match=r"config\.json is missing"):
        families.family(tmp_path)
    for text, what in (("{", "not JSON"), ("[]", "not an object"), ("{}", "model_type")):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(UserError, match=what):
            families.family(tmp_path)


def test_no_more_than_the_standard_library_is_loaded():
    code = "import sys, gillnext.instruments.families; print(sorted({'torch', 'numpy', 'yaml'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ))
    assert run.stdout.strip() == "[]"
