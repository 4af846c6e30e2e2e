"""The ceilings of a release: held-out pictures of any size at the size that is drawn, and through the autoencoder."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

from gillnext import layouts
from gillnext.config import Config
from gillnext.config.model import Run, Sample
from gillnext.diffusion import latents
from gillnext.layouts import Layout
from gillnext.miniatures import ceilings, clip, templates
from gillnext.miniatures.networks.features import FeatureNetwork
from gillnext.miniatures.rehearsal import pictures
from gillnext.miniatures.world import prior, scenes
from gillnext.miniatures.world.classes import CLASSES
from gillnext.runtime.errors import UserError
from gillnext.score import images, real, rebuilt, stage

COUNT = 20
CONFIG = Config(run=Run(seed=5), sample=Sample(test=COUNT))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two sets of held-out layouts with pictures of odd sizes and formats, and models of random weights."""
    root = tmp_path_factory.mktemp("real")
    for name in ("named", "reference"):
        rows = []
        for i in range(COUNT):
            scene, path = scenes.sample(5, name, i), root / f"{name}-{i}"
            path.write_bytes(pictures.encoded(scene, f"{name}{i}"))
            rows.append(Layout("图", scene.names, tuple(o.box for o in scene.objects), f"{i}", str(path)))
        layouts.write(root / f"{name}.jsonl", rows)
    torch.manual_seed(0)
    FeatureNetwork(len(CLASSES), 4).save_pretrained(root / "features")
    processor = clip.make_processor(["图"])
    clip.make_model(len(processor.tokenizer)).save_pretrained(root / "clip")
    processor.save_pretrained(root / "clip")
    prior.make(5, COUNT).save(root / "prior.safetensors")
    return root


@pytest.fixture(scope="module")
def models(folder):
    pair = stage.Evaluators(templates.make(), templates.make(), {"evaluator": "abc", "second_evaluator": "def"})
    return stage.scorers(pair, *(folder / name for name in ("prior.safetensors", "features", "clip")), CONFIG)


@pytest.fixture(scope="module")
def made(folder, models, tiny_base):
    """The folder of a whole run of the stage."""
    sets = (folder / f"{name}.jsonl" for name in ("named", "reference"))
    real.make(CONFIG, tiny_base, *sets, models, folder / "out", folder / "scores")
    return folder


def test_pictures_are_as_large_as_those_that_are_drawn_and_score_as_real_ones(made):
    found = images.read(made / "out" / "real")
    assert {images.size_of(path) for path in found.paths} == {(64, 64)} and len(found) == COUNT
    reports = {name: json.loads((made / "scores" / f"{name}.json").read_text()) for name in ("real", "vae")}
    assert reports["real"]["metrics"]["success50"] > 0.85 > 0.3 > reports["real"]["metrics"]["chance_success50"]
    assert reports["vae"]["metrics"]["success50"] < 0.2  # an untrained autoencoder leaves little to see
    assert 0 < reports["real"]["metrics"]["fid"] < reports["vae"]["metrics"]["fid"]
    assert real.SOURCE in reports["real"]["protocol"]["reference"]


def test_the_autoencoder_gives_what_it_gives_for_all_pictures_at_once(made, tiny_base):
    found = np.stack([images.read_image(path) for path in images.read(made / "out" / "real").paths])
    vae = AutoencoderKL.from_pretrained(tiny_base / "vae").eval().to("cpu", memory_format=torch.channels_last)
    expected = latents.decode(vae, latents.encode(vae, found, rebuilt.BATCH), rebuilt.BATCH)
    for path, picture in zip(images.read(made / "out" / "vae").paths, expected, strict=True):
        assert np.array_equal(images.read_image(path), picture)


def test_the_drawn_worlds_go_through_in_batches_of_their_own_with_a_rest(tiny_base, monkeypatch):
    """As all at once: of batches of another size the last bits would be others, and no more than one is in memory."""
    rng, seen = np.random.default_rng(0), []
    given = rng.integers(0, 256, (ceilings.BATCH * 2 + 3, 16, 16, 3), dtype=np.uint8)
    vae = AutoencoderKL.from_pretrained(tiny_base / "vae").eval().to("cpu", memory_format=torch.channels_last)
    expected = latents.decode(vae, latents.encode(vae, given, ceilings.BATCH), ceilings.BATCH)
    decode = latents.decode
    monkeypatch.setattr(latents, "decode", lambda vae, some, size: seen.append(len(some)) or decode(vae, some, size))
    found = list(rebuilt.rebuilt(rebuilt.autoencoder(tiny_base / "vae", "cpu"), given, ceilings.BATCH))
    assert np.array_equal(np.stack(found), expected) and seen == [ceilings.BATCH, ceilings.BATCH, 3]


def test_sizes_of_their_own_go_through_one_after_the_other(tiny_base):
    vae = AutoencoderKL.from_pretrained(tiny_base / "vae").eval()
    rng = np.random.default_rng(0)
    sizes = [(64, 64), (64, 64), (48, 80), (64, 64)]
    given = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    assert [picture.shape[:2] for picture in rebuilt.rebuilt(vae, iter(given))] == sizes


def test_a_layout_goes_into_the_bucket_of_its_aspect_with_its_boxes(made, tiny_base):
    rows = layouts.read(made / "named.jsonl")
    frames = real.Frames(tiny_base, "layout")
    wide = max(rows, key=lambda row: np.divide(*pictures.size(f"named{row.id}")))
    frame = frames.of(wide)
    assert frame.target[1] > frame.target[0]
    inside = real.in_frame(wide, frame)
    assert set(inside.names) <= set(wide.names) and all(0 <= v <= 1 for box in inside.boxes for v in box)
    assert real.Frames(tiny_base, "own").of(wide).target == (64, 64)


def test_a_side_without_layouts_is_told(folder, models, tiny_base, tmp_path):
    (tmp_path / "none.jsonl").write_text("")
    with pytest.raises(UserError, match=r"none\.jsonl: no layouts in it"):
        real.make(CONFIG, tiny_base, folder / "named.jsonl", tmp_path / "none.jsonl", models, tmp_path, tmp_path)


def test_a_picture_that_is_gone_is_told(folder, models, tiny_base, tmp_path):
    row = dataclasses.replace(layouts.read(folder / "named.jsonl")[0], image_path=str(tmp_path / "gone.jpg"))
    layouts.write(tmp_path / "gone.jsonl", [row])
    with pytest.raises(UserError, match=r"gone\.jpg"):
        real.make(CONFIG, tiny_base, tmp_path / "gone.jsonl", folder / "reference.jsonl", models, tmp_path, tmp_path)
