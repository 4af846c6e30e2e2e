"""The visual encoder: features of published classes are what their own projections take."""

import numpy as np
import pytest
import torch
from PIL import Image
from support import eyes
from transformers import AutoImageProcessor, AutoModel

from gillnext.gill.visual import Eyes, on_grid
from gillnext.runtime.errors import UserError


@pytest.fixture(scope="module")
def pictures():
    generator = np.random.default_rng(1)
    return [generator.integers(0, 256, (40, 48, 3), dtype=np.uint8) for _ in range(5)]


@pytest.fixture(scope="module", params=["chinese_clip", "clip", "siglip"])
def model(request, tmp_path_factory):
    return eyes.save(tmp_path_factory.mktemp("eyes") / request.param, request.param)


@torch.no_grad()
def test_features_are_what_the_models_own_embedding_is_projected_from(model, pictures):
    found = Eyes.load(model).features(pictures, batch=2)
    whole = AutoModel.from_pretrained(model).eval()
    pixels = AutoImageProcessor.from_pretrained(model)(images=pictures, return_tensors="pt")["pixel_values"]
    output = whole.get_image_features(pixel_values=pixels)
    expected = output if isinstance(output, torch.Tensor) else output.pooler_output
    projection = getattr(whole, "visual_projection", None)  # SigLIP has none
    assert found.shape == (5, 24) and found.dtype == torch.float32
    assert torch.allclose(projection(found) if projection else found, expected, atol=1e-5)


@torch.no_grad()
def test_on_the_grid_each_cell_has_its_patches_states(model, pictures):
    """16 patches are 16 cells; of what the model itself gives, in rows from the top."""
    seen = Eyes.load(model, features="grid")
    found = seen.features(pictures, batch=2)
    assert found.shape == (5, 16, 24) and seen.cells == 16
    whole = AutoModel.from_pretrained(model).eval()
    pixels = AutoImageProcessor.from_pretrained(model)(images=pictures, return_tensors="pt")["pixel_values"]
    states = whole.vision_model(pixels).last_hidden_state
    assert torch.allclose(found, states[:, states.shape[1] - 16 :], atol=1e-5)


def test_of_many_patches_a_cell_has_the_mean():
    patches = torch.arange(16 * 16 * 2.0).reshape(1, 256, 2)
    found = on_grid(patches, 16)
    assert found.shape == (1, 64, 2)
    assert torch.equal(found[0, 9], torch.stack([patches[0, i] for i in (34, 35, 50, 51)]).mean(0))


def test_half_precision_is_near_and_files_give_what_arrays_give(model, pictures, tmp_path):
    exact = Eyes.load(model).features(pictures)
    half = Eyes.load(model, dtype=torch.bfloat16)
    assert half.dtype == torch.bfloat16
    assert torch.allclose(half.features(pictures), exact, atol=0.1)
    for i, picture in enumerate(pictures):
        Image.fromarray(picture).save(tmp_path / f"{i}.png")
    read = Eyes.load(model).features([tmp_path / f"{i}.png" for i in range(5)])
    assert torch.equal(read, exact)


def test_no_pictures_have_no_features(eyes):
    assert Eyes.load(eyes).features([]).shape == (0, 24)


def test_another_class_pickles_and_no_model_are_told(tiny_language, eyes, tmp_path):
    with pytest.raises(UserError, match="'qwen2' is no visual encoder"):
        Eyes.load(tiny_language)
    with pytest.raises(UserError, match="cannot load"):
        Eyes.load(tmp_path)
    for file in eyes.iterdir():
        if file.suffix != ".safetensors":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(UserError, match="cannot load"):
        Eyes.load(tmp_path)


def test_a_file_that_is_no_picture_is_told(eyes, tmp_path):
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(UserError, match=r"a\.png"):
        Eyes.load(eyes).features([tmp_path / "a.png"])
