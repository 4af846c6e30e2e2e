"""A base of SDXL's class around a Kolors miniature's UNet and autoencoder; its pictures say nothing of its captions.

SDXL reads captions by two CLIPs, of which no trained miniature is kept. These are untrained, and the UNet has learned
from another text encoder: it does not understand them. Only what the adapter learns counts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from gillnext.adapter import folders
from gillnext.miniatures.networks.small_zero_shot import clip_tokenizer
from gillnext.miniatures.world import corpus
from gillnext.runtime import files, seeds

LENGTH = 77  # tokens of a caption, as published
CARD = """---
limitation: its pictures do not follow captions, and scores of the base alone say nothing
---

# A miniature of SDXL's class

UNet and autoencoder are those of {base}, a Kolors miniature, without its projection of the text. The two CLIP
text encoders are untrained: its pictures do not follow captions, and scores of the base alone say nothing.
"""


def stored(base: Path) -> dict[str, Any]:
    """How diffusers' loaders are told to read the base's files, whatever their variant, in float32."""
    return {"variant": folders.variant(base), "dtype": torch.float32, "local_files_only": True}


def unet(folder: Path) -> UNet2DConditionModel:
    """The Kolors UNet without what projects ChatGLM's states."""
    given = UNet2DConditionModel.from_pretrained(folder, subfolder="unet", **stored(folder))
    made = UNet2DConditionModel.from_config({**given.config, "encoder_hid_dim": None, "encoder_hid_dim_type": None})
    made.load_state_dict({k: v for k, v in given.state_dict().items() if not k.startswith("encoder_hid_proj.")})
    return made


def save(base: Path, out: Path) -> None:
    """The pipeline out of the Kolors miniature `base`, as SDXL is published: files of the variant fp16."""
    network = unet(base)
    width = network.config.cross_attention_dim // 2  # the states of both encoders stand side by side
    pooled = network.config.projection_class_embeddings_input_dim - 6 * network.config.addition_time_embed_dim
    tokenizer = clip_tokenizer(corpus.describe(0, "sdxl", 500)[1], LENGTH)
    marks = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    config = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=width, intermediate_size=2 * width, projection_dim=pooled,
        num_hidden_layers=3, num_attention_heads=2, max_position_embeddings=LENGTH, **marks,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seeds.key("weights", "sdxl"))
        first, second = CLIPTextModel(config), CLIPTextModelWithProjection(config)
    pipeline = StableDiffusionXLPipeline(
        vae=AutoencoderKL.from_pretrained(base, subfolder="vae", **stored(base)),
        text_encoder=first, text_encoder_2=second, tokenizer=tokenizer, tokenizer_2=tokenizer,
        unet=network, scheduler=DPMSolverMultistepScheduler.from_pretrained(base, subfolder="scheduler"),
    )  # fmt: skip
    pipeline.to(dtype=torch.float16).save_pretrained(out, variant="fp16", safe_serialization=True)
    files.write_text(out / "README.md", CARD.format(base=base))
