"""The grown first convolution, by sums over frames; and diffusers' own pipeline, whose folder is read."""

import shutil

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionInstructPix2PixPipeline, UNet2DConditionModel
from PIL import Image
from safetensors.torch import load_file, save_file

from gillnext.frames.grow import frames_of, grow
from gillnext.frames.loading import load
from gillnext.frames.pipeline import FramesPipeline, scale
from gillnext.runtime.errors import UserError


def some(count, *shape):
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("frames", [2, 3, 20])
def test_equal_frames_give_what_the_model_of_one_gives(editor, frames):
    one, many = load(editor).unet, load(editor, frames).unet
    noisy, picture, states = some(2, 4, 16, 16), some(2, 4, 16, 16), some(2, 16, 32)
    with torch.no_grad():
        expected = one(torch.cat([noisy, picture], 1), 500, states).sample
        found = many(torch.cat([noisy, *[picture] * frames], 1), 500, states).sample
    assert many.config.in_channels == 4 + 4 * frames and frames_of(many) == frames
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()


def test_other_frames_than_equal_ones_enter_by_their_mean(editor):
    """The convolution is linear: at first a model of frames sees their mean, whatever they are."""
    one, many = load(editor).unet, load(editor, 5).unet
    noisy, pictures = some(1, 4, 16, 16), some(5, 4, 16, 16)
    with torch.no_grad():
        expected = one.conv_in(torch.cat([noisy, pictures.mean(0, keepdim=True)], 1))
        found = many.conv_in(torch.cat([noisy, pictures.reshape(1, 20, 16, 16)], 1))
    assert torch.allclose(found, expected, atol=1e-5)


def test_a_text_to_image_base_begins_blind_to_its_frames(tiny_base):
    base = UNet2DConditionModel.from_pretrained(tiny_base, subfolder="unet")
    grown = load(tiny_base, 20).unet
    assert grown.config.in_channels == 84
    assert torch.equal(grown.conv_in.weight[:, :4], base.conv_in.weight) and not grown.conv_in.weight[:, 4:].any()
    assert torch.equal(grown.conv_in.bias, base.conv_in.bias)


def test_a_model_of_several_frames_does_not_grow_into_one_of_others(editor):
    several = load(editor, 4).unet
    assert grow(several, 4) is several
    with pytest.raises(UserError, match="it reads 4 frames, and 20 are asked for"):
        grow(several, 20)


def test_our_pipeline_draws_what_diffusers_own_draws(editor):
    """On one picture, with the same noise: the three-way guidance is that of StableDiffusionInstructPix2PixPipeline."""
    ours = load(editor)
    theirs = StableDiffusionInstructPix2PixPipeline.from_pretrained(editor)
    theirs.set_progress_bar_config(disable=True)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8))
    noise = ours.noise([("edit", 3)])
    expected = theirs(
        "drop it", picture, latents=noise, num_inference_steps=3, guidance_scale=5.0, image_guidance_scale=1.4,
        output_type="np",
    ).images  # fmt: skip
    found = ours("drop it", [picture], 3, 5.0, 1.4, seed=3, output_type="np").images
    assert np.abs(found[0].astype(float) - 255 * expected[0]).max() <= 2
    other = ours("drop it", [picture], 3, 5.0, 3.0, seed=3, output_type="np").images
    assert np.abs(other[0].astype(float) - 255 * expected[0]).max() > 5


def test_frames_latents_are_scaled_where_the_pipeline_says_so_alone(editor):
    """Published weights have learned from latents that are not: scaled ones are five times too small for them."""
    modes = some(1, 3, 4, 16, 16)
    plain, scaled = load(editor, 3), load(editor, 3, scaled=True)
    assert torch.equal(plain.conditions(modes), modes.flatten(1, 2))
    assert torch.allclose(scaled.conditions(modes), 0.18215 * modes.flatten(1, 2))
    assert torch.allclose(scale(plain.vae, modes), 0.18215 * modes)


def test_a_pipeline_comes_back_from_its_folder_as_it_was(editor, tmp_path):
    made = load(editor, 3, scaled=True)
    made.save_pretrained(tmp_path / "made")
    frames = [Image.fromarray(np.full((32, 32, 3), level, np.uint8)) for level in (20, 120, 220)]
    drawn = np.asarray(made("move it", frames, 2).images[0])
    own = FramesPipeline.from_pretrained(tmp_path / "made")
    own.set_progress_bar_config(disable=True)
    for again in (own, load(tmp_path / "made")):
        assert again.frames == 3 and again.config.scaled
        assert np.abs(np.asarray(again("move it", frames, 2).images[0]).astype(int) - drawn).max() <= 1


def test_equal_scales_leave_out_a_pass_and_scales_of_one_two(editor):
    from gillnext.frames.pipeline import terms

    assert terms(7.5, 1.5) == {"none": -0.5, "frames": -6.0, "both": 7.5}
    assert terms(2.0, 2.0) == {"none": -1.0, "both": 2.0} and terms(1.0, 1.0) == {"both": 1.0}
    for text, image in ((7.5, 1.5), (2.0, 2.0), (1.0, 1.0)):
        assert sum(terms(text, image).values()) == pytest.approx(1.0)


@pytest.mark.parametrize("what", ["misses", "has too many", "in another shape"])
def test_weights_that_do_not_fit_are_told_and_not_left_random(editor, tmp_path, what):
    folder = shutil.copytree(editor, tmp_path / "editor")
    file = folder / "unet/diffusion_pytorch_model.safetensors"
    state = load_file(file)
    if what == "misses":
        del state["conv_out.bias"]
    elif what == "has too many":
        state["conv_new.bias"] = torch.zeros(3)
    else:
        state["conv_in.weight"] = torch.zeros(16, 84, 3, 3)
    save_file(state, file)
    with pytest.raises(UserError, match=what):
        load(folder)


def test_a_folder_that_is_no_known_pipeline_is_told(tmp_path):
    with pytest.raises(UserError, match=r"no model_index\.json"):
        load(tmp_path)
    (tmp_path / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')
    with pytest.raises(UserError, match="a pipeline of class FluxPipeline"):
        load(tmp_path)
