"""The checkpoints of a rehearsal: what is kept in reference/models, and what is made of a run's models."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from gillnext.config.data import ZeroShot
from gillnext.config.load import load
from gillnext.filter.prompts import prompt
from gillnext.instruments import phrases, zero_shot
from gillnext.miniatures import foundations
from gillnext.miniatures.networks import small_zero_shot
from gillnext.miniatures.rehearsal import checkpoints, sdxl, train
from gillnext.miniatures.rehearsal.training import dense, grounding_dino, owlv2, scenes
from gillnext.roles import checkpoints as roles
from gillnext.roles.sources import ROLES
from gillnext.runtime import manifest
from gillnext.runtime.errors import UserError

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "reference/models"


@pytest.mark.parametrize("name", sorted(path.parent.name for path in KEPT.glob("*/manifest.json")))
def test_kept_models_are_those_that_their_cards_tell_of(name):
    """Every file has the sum that was written when the model was kept, and none has come since."""
    listed = set(manifest.check(KEPT / name)["files"])
    files = [path for path in (KEPT / name).rglob("*") if path.is_file() and path.name != manifest.MANIFEST]
    assert listed == {path.relative_to(KEPT / name).as_posix() for path in files} and "README.md" in listed


def test_every_kept_model_has_its_sums():
    assert all((path / manifest.MANIFEST).exists() for path in KEPT.iterdir())
    assert {path.name for path in KEPT.iterdir()} == {*foundations.KEPT, "draw", *train.KINDS}


def test_kept_models_are_small():
    assert sum(path.stat().st_size for path in KEPT.rglob("*") if path.is_file()) < 25 * 2**20


@pytest.mark.parametrize("kind", train.KINDS)
def test_kept_detectors_find_objects_far_above_chance(kind):
    """On scenes that neither they nor their thresholds have seen, at the rehearsal's own settings."""
    settings = load(ROOT / "config.yaml", ROOT / "config/rehearsal.yaml").zero_shot
    pictures = scenes.make("test-of-kept-detectors", 36)
    share, scores = train.measured(zero_shot.load(KEPT / kind, settings), pictures, train.KINDS[kind].view)
    assert share * (scores >= settings.confident).mean() > 0.6 > 4 * scenes.chance(pictures)


@pytest.fixture
def models(tmp_path, tiny_base, tiny_language):
    """A run's models, tiny; those that are copied as they are hold a file each."""
    folder = tmp_path / "run"
    shutil.copytree(tiny_base, folder / "base")
    shutil.copytree(tiny_language, folder / "classifier")
    for role in ROLES.values():
        (folder / role.made).mkdir(exist_ok=True)
        (folder / role.made / "training.json").write_text("{}")
    return folder


@pytest.fixture
def kept(tmp_path):
    """Untrained detectors in place of the kept ones."""
    for kind, recipe in train.KINDS.items():
        folder = small_zero_shot.save(recipe.make(), tmp_path / "kept" / kind)
        phrases.write(folder / "names.tsv", scenes.WORDS)
    return tmp_path / "kept"


@pytest.fixture
def kept_models(models, tmp_path):
    """The same models, called by their roles, the base in half precision, as the repository keeps them."""
    out = tmp_path / "reference"
    for role, about in ROLES.items():
        if role == "base":
            foundations.half(models / "base", out / role)
        else:
            shutil.copytree(models / about.made, out / role)
        manifest.write(out / role, {"role": role})
    return out


@pytest.mark.parametrize("of", ["kolors", "sdxl"])
def test_kept_models_give_the_checkpoints_that_a_runs_do(models, kept_models, kept, tmp_path, of):
    found, wanted = (checkpoints.make(one, kept, tmp_path / f"lab-{one.name}", of) for one in (kept_models, models))
    for role in ("base", "classifier", "image_text", "features"):
        names, same = (
            {str(p.relative_to(one[role])) for p in one[role].rglob("*.safetensors")} for one in (found, wanted)
        )
        assert names == same
        for name in names:
            if (
                role == "base" and of == "sdxl" and not name.startswith("text_encoder")
            ):  # rounded to half before as well
                ours, theirs = (load_file(one[role] / name) for one in (found, wanted))
                assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
            else:
                assert (found[role] / name).read_bytes() == (wanted[role] / name).read_bytes()


@pytest.mark.parametrize("of", ["kolors", "sdxl"])
def test_given_checkpoints_are_of_the_classes_that_their_roles_take(models, kept, tmp_path, of):
    made = checkpoints.make(models, kept, tmp_path / "lab", of)
    for role in ("classifier", "planner", "base", "annotator", "evaluator"):
        roles.check(role, made[role])
    weights = [path.name for path in made["base"].rglob("*.safetensors")]
    assert weights and all(".fp16." in name for name in weights)
    assert roles.kind(made["base"]) == {"kolors": "KolorsPipeline", "sdxl": "StableDiffusionXLPipeline"}[of]
    assert not list((tmp_path / "lab").rglob("training.json"))
    assert phrases.read(tmp_path / "lab/names.tsv") == scenes.WORDS


def test_a_chat_template_asks_the_classifier_what_it_was_trained_on(models, tmp_path):
    checkpoints.language(models, tmp_path / "given")
    given, own = (AutoTokenizer.from_pretrained(folder) for folder in (tmp_path / "given", models / "classifier"))
    assert given.chat_template and not own.chat_template
    for caption in ("猫在树的左边", "上海 迪士尼门票", "<|endoftext|>花"):
        assert prompt(caption, given) == prompt(caption, own)


def test_lacking_models_are_told(models, kept, tmp_path):
    shutil.rmtree(kept / "owlv2")
    with pytest.raises(UserError, match="no owlv2 there"):
        checkpoints.make(models, kept, tmp_path / "lab")
    assert not (tmp_path / "lab").exists()


def test_the_unet_of_sdxls_class_is_kolors_own_behind_its_projection(tiny_base):
    from diffusers import UNet2DConditionModel

    kolors, made = UNet2DConditionModel.from_pretrained(tiny_base, subfolder="unet"), sdxl.unet(tiny_base)
    generator = torch.Generator().manual_seed(0)
    latents, states = torch.randn(2, 4, 16, 16, generator=generator), torch.randn(2, 5, 96, generator=generator)
    added = {"text_embeds": torch.randn(2, 96, generator=generator), "time_ids": torch.rand(2, 6, generator=generator)}
    with torch.no_grad():
        wanted = kolors(latents, 10, states, added_cond_kwargs=added).sample
        got = made(latents, 10, kolors.encoder_hid_proj(states), added_cond_kwargs=added).sample
    torch.testing.assert_close(got, wanted)


def test_the_dense_loss_is_that_of_its_definition():
    """Against sums over places and tokens, one at a time."""
    rng = np.random.default_rng(0)
    truth = [np.array([[0.1, 0.2, 0.5, 0.6], [0.6, 0.5, 0.9, 1.0]]), np.array([[0.3, 0.3, 0.8, 0.7]])]
    words, places = [[2, 0], [1]], dense.grid(8, 8).numpy()
    logits, boxes = rng.normal(size=(2, 64, 3)), rng.uniform(0.2, 0.6, (2, 64, 4))
    logits[1, :, 2] = -np.inf
    focal = away = overlap = count = 0.0
    for b, p in np.ndindex(2, 64):
        inside = [
            k for k, (x1, y1, x2, y2) in enumerate(truth[b])
            if abs(places[p, 0] - (x1 + x2) / 2) <= max((x2 - x1) / 4, 1 / 16)
            and abs(places[p, 1] - (y1 + y2) / 2) <= max((y2 - y1) / 4, 1 / 16)
        ]  # fmt: skip
        for t in range(3):
            if np.isfinite(logits[b, p, t]):
                said, wanted = 1 / (1 + np.exp(-logits[b, p, t])), any(words[b][k] == t for k in inside)
                focal += -0.25 * (1 - said) ** 2 * np.log(said) if wanted else -0.75 * said**2 * np.log(1 - said)
        for k in inside:
            x, y, w, h = boxes[b, p]
            seen, true = np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2]), truth[b][k]
            shared = np.prod(np.clip(np.minimum(seen[2:], true[2:]) - np.maximum(seen[:2], true[:2]), 0, None))
            union = w * h + np.prod(true[2:] - true[:2]) - shared
            hull = np.prod(np.maximum(seen[2:], true[2:]) - np.minimum(seen[:2], true[:2]))
            away, count = away + np.abs(seen - true).mean(), count + 1
            overlap += 1 - (shared / union - (hull - union) / hull)
    got = dense.loss(
        torch.tensor(logits), torch.tensor(boxes), dense.grid(8, 8).expand(2, -1, -1), dense.stacked(truth),
        dense.places([["c", "a"], ["b"]], [["a", "b", "c"]] * 2),
    )  # fmt: skip
    assert count > 3 and float(got) == pytest.approx((focal + 5 * away + 2 * overlap) / count, rel=1e-5)


@pytest.mark.parametrize("recipe", [owlv2, grounding_dino])
def test_a_training_step_reaches_every_weight_that_is_read(recipe):
    """But for what the published classes have and do not use on this way."""
    torch.manual_seed(0)
    model, processor = recipe.make()
    recipe.losses(model.train(), processor, scenes.make("test-step", 120))(0).backward()
    reached = [p.grad is not None and bool(p.grad.abs().sum()) for p in model.parameters()]
    assert np.mean(reached) > 0.7


def test_training_writes_a_checkpoint_with_its_card(tmp_path, monkeypatch):
    monkeypatch.setattr(scenes, "SHAPES", ((64, 64),))
    monkeypatch.setattr(train, "MEASURED", 8)
    card = train.train("owlv2", tmp_path / "owlv2", steps=2, count=20)
    detector = zero_shot.load(tmp_path / "owlv2", ZeroShot())
    assert next(detector.network.parameters()).dtype == torch.float32
    assert phrases.read(tmp_path / "owlv2/names.tsv") == scenes.WORDS
    text = (tmp_path / "owlv2/README.md").read_text()
    assert f"{card['success']:.3f}" in text and f"{card['chance']:.3f}" in text and "Apache-2.0" in text
    assert [path.name for path in tmp_path.iterdir()] == ["owlv2"]
