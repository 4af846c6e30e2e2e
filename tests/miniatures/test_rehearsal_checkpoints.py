"""The checkpoints of a rehearsal: what is kept in reference/models, and what is made of a run's models."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from gillnext.annotate.families import qwen2_vl as family
from gillnext.annotate.stage import backend_of
from gillnext.annotate.vlm import VisionLanguageAnnotator
from gillnext.config.data import ZeroShot
from gillnext.config.load import load
from gillnext.filter.prompts import prompt
from gillnext.instruments import phrases, zero_shot
from gillnext.miniatures import foundations
from gillnext.miniatures.networks import small_zero_shot
from gillnext.miniatures.rehearsal import checkpoints, sdxl, stage, train
from gillnext.miniatures.rehearsal.training import dense, grounding_dino, likeliest, owlv2, qwen2_vl, scenes
from gillnext.miniatures.world import captions
from gillnext.miniatures.world import scenes as world
from gillnext.roles import checkpoints as roles
from gillnext.roles.sources import ROLES
from gillnext.runtime import manifest, seeds
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


@pytest.mark.parametrize("kind", ["owlv2", "grounding-dino"])
def test_kept_detectors_find_objects_far_above_chance(kind):
    """On scenes that neither they nor their thresholds have seen, at the rehearsal's own settings."""
    settings = load(ROOT / "config.yaml", ROOT / "config/rehearsal.yaml").zero_shot
    pictures = scenes.make("test-of-kept-detectors", 36)
    share, scores = likeliest.measured(zero_shot.load(KEPT / kind, settings), pictures, train.KINDS[kind].view)
    assert share * (scores >= settings.confident).mean() > 0.6 > 4 * scenes.chance(pictures)


def test_the_kept_qwen2_vl_answers_with_boxes_far_above_chance():
    """By the annotator's own path, of scenes and of a wording (the release's) that it has not learned from."""
    stream, pictures = "test-of-kept-detectors", []
    for i, picture in enumerate(scenes.make(stream, 60)):
        stated = captions.spatial(world.sample(scenes.SEED, stream, i), seeds.rng("test", i), "world")
        pictures.append(dataclasses.replace(picture, caption=stated[0] if stated else picture.caption))
    _, right = qwen2_vl.measured(VisionLanguageAnnotator.from_pretrained(KEPT / "qwen2-vl"), pictures)
    assert right > 0.6 > 4 * scenes.chance(pictures)


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


@pytest.mark.parametrize(("annotator", "backend"), [("grounding-dino", "zero-shot"), ("qwen2-vl", "vlm")])
def test_the_annotators_class_and_its_setting_are_those_that_are_asked_for(models, kept, tmp_path, annotator, backend):
    out = tmp_path / "lab"
    (out / "release").mkdir(parents=True)
    (out / "release/world.json").write_text("{}")
    settings = ROOT / "config.yaml", ROOT / "config/rehearsal.yaml"
    lab = stage.prepare(load(*settings), models, kept, out, annotator=annotator)
    given = load(*settings, lab)
    roles.check("annotator", given.models.annotator)
    assert backend_of(given, given.models.annotator) == given.annotate.backend == backend
    assert bool(given.annotate.names) == (backend == "zero-shot")


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


@pytest.mark.parametrize("listed", [False, True])
def test_answers_that_are_learned_are_read_as_the_scenes_boxes(listed):
    """By the family's own parser, to half a fortieth, in the caption's order or that of all names."""
    for picture in scenes.make("test-answers", 40, draw=False):
        read = family.parse(qwen2_vl.answer(picture, listed))
        names = [name for name, _ in read.objects]
        assert not read.problems and sorted(names) == sorted(picture.names)
        assert names == sorted(names, key=list(scenes.WORDS).index if listed else picture.caption.index)
        for name, box in read.objects:
            assert np.abs(np.array(box) - picture.boxes[picture.names.index(name)]).max() <= 0.5 / qwen2_vl.BINS + 1e-9


def test_a_row_of_qwen2_vl_is_prompt_visual_tokens_and_answer():
    model, processor = qwen2_vl.make()
    pictures = scenes.make("test-rows", 8)
    rows = qwen2_vl.Rows(model, processor, pictures)
    for same in rows.alike().values():
        ids, there, told = rows.batch(same)
        for i, row, is_there, is_told in zip(same, ids, there, told, strict=True):
            _, height, width = rows.grids[i]
            assert (row == rows.image).sum() == height * width / 4
            assert processor.tokenizer.decode(row[is_told]) == qwen2_vl.answer(pictures[i])
            assert pictures[i].caption in processor.tokenizer.decode(row[is_there.bool()])
            said = sum(pictures[i].caption.count(name) + 1 for name in pictures[i].names)
            assert len(rows.boxes[i]) == said  # in the caption, and in the answer


def test_a_coordinate_is_taught_with_its_neighbours_and_every_other_token_alone():
    tokens = qwen2_vl.tokenizer()
    taught, numbers = qwen2_vl.soft_targets(tokens).numpy(), tokens.convert_tokens_to_ids(qwen2_vl.NUMBERS)
    others = np.setdiff1d(np.arange(len(tokens)), numbers)
    np.testing.assert_array_equal(taught[others], np.eye(len(tokens))[others])
    np.testing.assert_allclose(taught.sum(1), 1, rtol=1e-6)
    middle = taught[numbers[20]][numbers] @ np.arange(len(numbers))
    assert middle == pytest.approx(20, abs=1e-5) and taught[numbers[20], numbers[20]] == taught[numbers[20]].max()


@pytest.mark.parametrize("recipe", [owlv2, grounding_dino, qwen2_vl])
def test_a_training_step_reaches_every_weight_that_is_read(recipe):
    """But for what the published classes have and do not use on this way."""
    torch.manual_seed(0)
    model, processor = recipe.make()
    recipe.losses(model.train(), processor, scenes.make("test-step", 120))(0).backward()
    reached = [p.grad is not None and bool(p.grad.abs().sum()) for p in model.parameters()]
    assert np.mean(reached) > 0.7


def test_the_language_model_learns_later_and_the_eyes_stay_as_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(qwen2_vl, "LATER", 2)
    torch.manual_seed(0)
    model, processor = qwen2_vl.make()
    before = {name: weight.half().float() for name, weight in model.state_dict().items()}
    qwen2_vl.later(model.train(), processor, scenes.make("test-later", 24), tmp_path)
    moved = {name for name, weight in model.state_dict().items() if not torch.equal(weight, before[name])}
    assert moved and not any(name.startswith("model.visual") for name in moved)
    assert {"lm_head.weight", "model.language_model.embed_tokens.weight"} <= moved


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
