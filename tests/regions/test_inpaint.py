"""Boxes are filled whatever the base, and what is outside keeps its bits; a grown UNet begins as its base."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from gillnext.regions import inpaint, masks
from gillnext.regions.inpaint import Filling
from gillnext.runtime.errors import UserError

BOX = (0.25, 0.25, 0.75, 0.75)
OTHER = (0.0, 0.5, 0.5, 1.0)


def outside(box):
    return masks.mask(box, (64, 64)) == 0


def check(inpainter, noise, prompts=("一只猫", "一棵树"), negatives=("", "")):
    """Both boxes are filled, each with other pixels, and nothing else is."""
    sources = np.stack([noise, 255 - noise])
    edited = inpainter.fill(sources, [BOX, OTHER], prompts, negatives, [(0,), (1,)])
    assert edited.shape == sources.shape and edited.dtype == np.uint8
    for source, new, box in zip(sources, edited, (BOX, OTHER), strict=True):
        assert (new[outside(box)] == source[outside(box)]).all()
        assert (new[~outside(box)] != source[~outside(box)]).mean() > 0.5
    return edited


def grown_folder(base, folder, scale=0.0):
    from gillnext.adapter import pipeline
    from gillnext.miniatures.inpainting import grown

    unet = grown(pipeline.load(base).unet)
    with torch.no_grad():
        unet.conv_in.weight[:, 4:].normal_(std=1, generator=torch.Generator().manual_seed(0)).mul_(scale)
    unet.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("how", [Filling(2, 2.0, 1), Filling(2, 2.0, 2, crop=1.5, side=32)])
def test_a_base_of_four_channels_keeps_what_is_known(tiny_base, noise, how):
    check(inpaint.load(tiny_base, how), noise)


def test_sdxl_fills_as_kolors_does(tiny_sdxl, noise):
    check(inpaint.load(tiny_sdxl, Filling(2, 2.0)), noise, ("a cat", "a tree"))


def test_a_grown_unet_gives_what_the_base_gives_as_long_as_its_new_weights_are_zero(tiny_pipeline):
    from gillnext.miniatures.inpainting import grown

    unet, more = tiny_pipeline.unet, grown(tiny_pipeline.unet)
    assert more.config.in_channels == 9 and unet.config.in_channels == 4
    generator = torch.Generator().manual_seed(0)
    latents, beside = torch.randn(2, 4, 16, 16, generator=generator), torch.randn(2, 5, 16, 16, generator=generator)
    width = unet.config.encoder_hid_dim or unet.config.cross_attention_dim
    states = torch.randn(2, 7, width, generator=generator)
    pooled = unet.config.projection_class_embeddings_input_dim - 6 * unet.config.addition_time_embed_dim
    added = {"text_embeds": torch.randn(2, pooled, generator=generator), "time_ids": torch.full((2, 6), 64.0)}
    with torch.no_grad():
        own = unet(latents, torch.tensor(500), states, added_cond_kwargs=added).sample
        other = more(torch.cat([latents, beside], 1), torch.tensor(500), states, added_cond_kwargs=added).sample
    assert torch.allclose(own, other, atol=1e-5)


def test_nine_channels_see_the_mask(tiny_base, tmp_path, noise):
    """With new weights of zero the picture is that of the base; with others it is not."""
    how = Filling(2, 2.0)
    base = check(inpaint.load(tiny_base, how), noise)
    same = check(inpaint.load(tiny_base, how, grown_folder(tiny_base, tmp_path / "zero")), noise)
    other = check(inpaint.load(tiny_base, how, grown_folder(tiny_base, tmp_path / "not", 0.5)), noise)
    assert np.abs(base.astype(int) - same).max() <= 1
    assert (base != other).any()


def test_a_batch_changes_nothing(tiny_base, noise):
    inpainter, sources = inpaint.load(tiny_base, Filling(2, 2.0, crop=1.5, side=32)), np.stack([noise, 255 - noise])
    both = inpainter.fill(sources, [BOX, OTHER], ["一只猫", "一棵树"], ["", ""], [(0,), (1,)])
    for i, (box, prompt) in enumerate(((BOX, "一只猫"), (OTHER, "一棵树"))):
        (alone,) = inpainter.fill(sources[i : i + 1], [box], [prompt], [""], [(i,)])
        assert np.abs(alone.astype(int) - both[i]).max() <= 1


def test_training_leaves_the_base_as_it_was(tiny_config, tiny_base, tmp_path):
    import dataclasses

    from gillnext.config.regions import InpaintingTraining, Regions
    from gillnext.miniatures import inpainting
    from gillnext.runtime import files

    before = files.sha256(tiny_base)
    settings = Regions(training=InpaintingTraining(corpus=12, steps=2, batch=4))
    losses = inpainting.train(dataclasses.replace(tiny_config, regions=settings), tiny_base, tmp_path / "unet")
    told = files.read_json(tmp_path / "unet/training.json")
    assert len(losses) == 2 and files.sha256(tiny_base) == before == told["base"] == told["base_afterwards"]


def stable_diffusion(folder: Path, channels: int) -> Path:
    """A miniature StableDiffusionInpaintPipeline of the real classes."""
    from diffusers import DDIMScheduler, StableDiffusionInpaintPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    from gillnext.miniatures import vae

    pieces = [chr(c) + end for c in range(97, 123) for end in ("", "</w>")]
    vocabulary = {piece: i for i, piece in enumerate([*pieces, "<|startoftext|>", "<|endoftext|>"])}
    config = CLIPTextConfig(
        vocab_size=len(vocabulary), hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=16, bos_token_id=len(pieces), eos_token_id=len(pieces) + 1,
        pad_token_id=len(pieces) + 1,
    )  # fmt: skip
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=16, in_channels=channels, block_out_channels=(16, 32), layers_per_block=1, norm_num_groups=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=32, attention_head_dim=8,
    )  # fmt: skip
    StableDiffusionInpaintPipeline(
        vae=vae.build(), text_encoder=CLIPTextModel(config), unet=unet,
        tokenizer=CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=16),
        scheduler=DDIMScheduler(), safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    ).save_pretrained(folder)  # fmt: skip
    return folder


@pytest.mark.parametrize("channels", [4, 9])
def test_stable_diffusions_inpainting_pipeline_is_loaded_by_its_class(tmp_path, noise, channels):
    inpainter = inpaint.load(stable_diffusion(tmp_path / "sd", channels), Filling(2, 2.0))
    assert type(inpainter.pipeline).__name__ == "StableDiffusionInpaintPipeline"
    check(inpainter, noise, ("a cat", "a tree"))


def test_sdxls_inpainting_pipeline_is_loaded_by_its_class(tiny_sdxl, tmp_path, noise):
    from diffusers import StableDiffusionXLInpaintPipeline

    StableDiffusionXLInpaintPipeline.from_pretrained(tiny_sdxl).save_pretrained(tmp_path / "xl")
    inpainter = inpaint.load(tmp_path / "xl", Filling(2, 2.0))
    assert type(inpainter.pipeline).__name__ == "StableDiffusionXLInpaintPipeline"
    check(inpainter, noise, ("a cat", "a tree"))


def test_a_folder_of_another_pipeline_is_refused(tmp_path):
    (tmp_path / "model_index.json").write_text('{"_class_name": "AudioLDMPipeline"}')
    with pytest.raises(UserError, match="AudioLDMPipeline"):
        inpaint.load(tmp_path, Filling())


def test_the_noise_is_that_of_the_key(tiny_base, noise):
    inpainter = inpaint.load(tiny_base, Filling(1, 1.5, crop=1.5, side=32))
    digests = {
        key: hashlib.sha256(inpainter.fill(noise[None], [BOX], ["一只猫"], [""], [key]).tobytes()).hexdigest()
        for key in ((0, "a"), (0, "b"))
    }
    again = inpainter.fill(noise[None], [BOX], ["一只猫"], [""], [(0, "a")])
    assert digests[0, "a"] == hashlib.sha256(again.tobytes()).hexdigest() != digests[0, "b"]
