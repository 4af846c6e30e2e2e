"""Models that a run made, kept a folder a role, compared, and taken again."""

import json
import shutil

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.numpy import load_file, save_file

from gillnext import cli
from gillnext.miniatures import foundations
from gillnext.roles import checkpoints
from gillnext.roles.sources import read
from gillnext.runtime import files, manifest
from gillnext.runtime.errors import UserError
from gillnext.score import rebuilt

OTHERS = [role for role in foundations.KEPT if role != "base"]


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_base):
    """Results of a run that made every model: the tiny base, and of the others a folder with a tensor of its own."""
    root = tmp_path_factory.mktemp("results")
    files.write_json(root / "config.json", {"run": {"tier": "scratch", "seed": 7, "arithmetic": "portable"}})
    shutil.copytree(tiny_base, root / "models/base")
    for i, role in enumerate(OTHERS):
        folder = root / "models" / foundations.KEPT[role]
        folder.mkdir(parents=True)
        files.write_json(folder / "config.json", {"architecture": f"gillnext-{role}"})
        save_file({"x": np.arange(3, dtype=np.float32) + i}, folder / "model.safetensors")
    files.write_json(root / "models/evaluator/training.json", {"held_out": {"n": 256, "miou": 0.94321}})
    return root


@pytest.fixture(scope="module")
def kept(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("reference") / "models"
    foundations.keep_all(run, out)
    return out


def test_every_role_but_the_planner_has_a_folder_with_its_card_and_the_sums_of_its_files(run, kept):
    assert sorted(path.name for path in kept.iterdir()) == sorted([*OTHERS, "base"])
    for role in foundations.KEPT:
        told = manifest.check(kept / role)
        listed = {str(path.relative_to(kept / role)) for path in (kept / role).rglob("*") if path.is_file()}
        assert set(told["files"]) == listed - {"manifest.json"} and "README.md" in listed
        assert checkpoints.kind(kept / role) in (kept / role / "README.md").read_text()
    for role in OTHERS:
        name = f"models/{foundations.KEPT[role]}/model.safetensors"
        assert (kept / role / "model.safetensors").read_bytes() == (run / name).read_bytes()
    assert "miou 0.9432, n 256" in (kept / "evaluator/README.md").read_text()
    assert "| parameters | 3 |" in (kept / "evaluator/README.md").read_text()


def test_the_base_is_kept_in_half_precision_to_the_nearest_number(run, kept):
    made = UNet2DConditionModel.from_pretrained(run / "models/base/unet").state_dict()
    found = load_file(kept / "base/unet/diffusion_pytorch_model.fp16.safetensors")
    assert set(found) == set(made)
    for name, values in made.items():
        assert np.array_equal(found[name], values.numpy().astype(np.float16))
    whole = sum(path.stat().st_size for path in (run / "models/base").rglob("*.safetensors"))
    assert sum(path.stat().st_size for path in (kept / "base").rglob("*.safetensors")) < 0.55 * whole


def test_the_same_run_kept_again_is_equal_and_another_is_not(run, kept, tmp_path, capsys):
    options = ["--against", str(kept)]
    assert cli.main(["foundations", "--results", str(run), *options]) == 0
    assert capsys.readouterr().out.count(" the kept values") == len(foundations.KEPT)
    other = tmp_path / "moved"
    shutil.copytree(run, other)
    config = json.loads((other / "models/base/unet/config.json").read_text())
    files.write_json(other / "models/base/unet/config.json", config | {"_name_or_path": "elsewhere"})
    assert set(foundations.compare(other, kept).values()) == {foundations.EQUAL}
    save_file({"x": np.zeros(3, dtype=np.float32)}, other / "models/clip/model.safetensors")
    with pytest.raises(SystemExit) as end:
        cli.main(["foundations", "--results", str(other), *options])
    said = capsys.readouterr().out
    assert end.value.code == 1 and said.count("other values") == 1
    assert next(line for line in said.splitlines() if "other values" in line).startswith("image_text")
    assert set(foundations.compare(run, tmp_path / "nothing").values()) == {"no model is kept"}
    shutil.rmtree(other / "models/clip")
    with pytest.raises(UserError, match="models/clip: no such model"):
        foundations.keep_all(other, tmp_path / "out")


def test_what_draws_is_kept_without_its_trainings_notes(run, tmp_path, capsys):
    root = tmp_path / "finished"
    arms = {"attn1": {"site": "attn1"}, "attn2": {}}
    files.write_json(root / "config.json", {"study": {"arms": arms, "reference": "attn1", "seeds": [4, 5]}})
    for name in ("models/planner", "adapters/attn1/4", "adapters/attn2/4"):
        (root / name / "tensorboard").mkdir(parents=True)
        save_file({"x": np.full(2, len(name), dtype=np.float32)}, root / name / "model.safetensors")
        files.write_json(root / name / "losses.json", [1.0])
        files.write_json(root / name / "training.json", {"provenance": {}})
    out = tmp_path / "models"
    assert cli.main(["foundations", "--results", str(root), "--drawing", "--out", str(out)]) == 0
    assert "draw: " in capsys.readouterr().out
    told = manifest.check(out / "draw")
    parts = {f"{part}/{name}" for part in ("planner", "adapter") for name in ("model.safetensors", "training.json")}
    assert set(told["files"]) == parts | {"README.md"}
    assert load_file(out / "draw/adapter/model.safetensors")["x"][0] == len("adapters/attn1/4")
    assert "arm attn1, seed 4" in (out / "draw/README.md").read_text()
    shutil.rmtree(root / "models/planner")
    with pytest.raises(UserError, match="models/planner: no such model"):
        foundations.keep_drawing(root, tmp_path / "other")


def test_a_role_is_played_by_what_is_kept_for_it(kept):
    found = read("base", "kept", kept)
    assert found.given and found.path == str(kept / "base")
    checkpoints.check("base", found.path)


def test_a_model_that_is_not_kept_or_has_changed_is_told(kept, tmp_path):
    with pytest.raises(UserError, match=r"models\.planner: kept: no model is kept.*\n.*base"):
        read("planner", "kept", kept)
    with pytest.raises(UserError, match="no model is kept"):
        read("base", "kept", tmp_path)
    shutil.copytree(kept / "image_text", tmp_path / "image_text")
    save_file({"x": np.ones(3, dtype=np.float32)}, tmp_path / "image_text/model.safetensors")
    with pytest.raises(UserError, match=r"model\.safetensors: not the file that was kept.*\n.*git checkout"):
        read("image_text", "kept", tmp_path)


def test_the_ceilings_autoencoder_may_be_in_half_precision(kept, tiny_scenes):
    """As float32 weights of the same values."""
    pictures = np.stack(tiny_scenes.images[:2])
    again = np.stack(list(rebuilt.rebuilt(rebuilt.autoencoder(kept / "base/vae", "cpu"), pictures)))
    vae = AutoencoderKL.from_pretrained(kept / "base/vae", variant="fp16", dtype=torch.float32).eval()
    with torch.no_grad():
        encoded = vae.encode(torch.from_numpy(pictures).permute(0, 3, 1, 2) / 127.5 - 1).latent_dist.mean
        decoded = vae.decode(encoded).sample.permute(0, 2, 3, 1).numpy()
    wanted = ((decoded / 2 + 0.5).clip(0, 1) * 255).round()
    assert vae.dtype == torch.float32 and np.abs(again.astype(float) - wanted).max() <= 1
