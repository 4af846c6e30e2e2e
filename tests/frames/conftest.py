"""Tiny clips, their dataset and latents, and an untrained pipeline as diffusers' `train_instruct_pix2pix` saves one."""

import dataclasses

import pytest
import torch
from support.sdxl import PIECES

FRAMES = 20


@pytest.fixture(scope="session")
def settings(tiny_config):
    """The tiny settings with changes of `frames`."""

    def make(precision="no", drawing=None, training=None, **frames):
        small = {"steps": 4, "batch": 4, "checkpoint_every": 2, "validate_every": 0, "validation_steps": 2}
        known = tiny_config.frames
        parts = {"clips": dataclasses.replace(known.clips, train=6, val=3, test=3)}
        parts["training"] = dataclasses.replace(known.training, **small | (training or {}))
        parts["drawing"] = dataclasses.replace(known.drawing, **{"steps": 2} | (drawing or {}))
        frames = dataclasses.replace(known, **parts | frames)
        run = dataclasses.replace(tiny_config.run, precision=precision)
        return dataclasses.replace(tiny_config, run=run, frames=frames)

    return make


@pytest.fixture(scope="session")
def clips_folder(tmp_path_factory, settings):
    from gillnext.miniatures.world import clips

    out = tmp_path_factory.mktemp("clips") / "clips"
    clips.run(settings(), out)
    return out


@pytest.fixture(scope="session")
def data(tmp_path_factory, settings, clips_folder):
    from gillnext.frames import dataset

    out = tmp_path_factory.mktemp("data") / "frames"
    dataset.write(settings(), clips_folder, out)
    return out


@pytest.fixture(scope="session")
def encoded(tmp_path_factory, settings, data, clips_folder, tiny_base):
    from gillnext.frames import latents

    out = tmp_path_factory.mktemp("latents") / "latents"
    latents.build(settings(), data, clips_folder, tiny_base, out)
    return out


@pytest.fixture(scope="session")
def editor(tmp_path_factory):
    """Folder of an untrained StableDiffusionInstructPix2PixPipeline of 32×32 pictures, scaling factor 0.18215."""
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionInstructPix2PixPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    vocabulary = {piece: i for i, piece in enumerate([*PIECES, "<|startoftext|>", "<|endoftext|>"])}
    config = CLIPTextConfig(
        vocab_size=len(vocabulary), hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=16, bos_token_id=len(PIECES), eos_token_id=len(PIECES) + 1,
        pad_token_id=len(PIECES) + 1,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("editor") / "editor"
    StableDiffusionInstructPix2PixPipeline(
        vae=AutoencoderKL(
            block_out_channels=(8, 16), down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2, layers_per_block=1, norm_num_groups=4, latent_channels=4,
        ),
        text_encoder=CLIPTextModel(config).eval(),
        tokenizer=CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=16),
        unet=UNet2DConditionModel(
            sample_size=16, in_channels=8, out_channels=4, block_out_channels=(16, 32), norm_num_groups=8,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), layers_per_block=1, attention_head_dim=2,
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), cross_attention_dim=32,
        ).eval(),
        scheduler=DDIMScheduler(clip_sample=False, set_alpha_to_one=False, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)  # fmt: skip
    return folder
