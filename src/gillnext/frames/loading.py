"""The pipeline of frames, from folders: one of its own, one that diffusers' `train_instruct_pix2pix` saved, or a base.

A base of text to image (Kolors) is grown from 4 to 8 channels and to those of all frames; a model of one picture is
grown from 8 (`grow.py`). Weights that a folder lacks, or has too many, are an error: diffusers only warns, and leaves
them random.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.pipelines.kolors import ChatGLMModel, ChatGLMTokenizer
from transformers import CLIPTextModel, CLIPTokenizer

from gillnext.adapter import folders
from gillnext.frames.grow import grow
from gillnext.frames.pipeline import FramesPipeline
from gillnext.runtime import files
from gillnext.runtime.errors import UserError

INDEX = "model_index.json"
OWN, EDITOR, BASE = "FramesPipeline", "StableDiffusionInstructPix2PixPipeline", "KolorsPipeline"
KNOWN = (OWN, EDITOR, BASE, "GroundedKolorsPipeline", "StableDiffusionPipeline")
TEXT: dict[str, tuple[Any, Any]] = {
    "ChatGLMModel": (ChatGLMModel, ChatGLMTokenizer),
    "CLIPTextModel": (CLIPTextModel, CLIPTokenizer),
}


def _index(folder: Path) -> dict[str, Any]:
    if not (folder / INDEX).is_file():
        remedy = "the folder of a diffusers pipeline, as save_pretrained writes it"
        raise UserError(f"no {INDEX}", where=str(folder), remedy=remedy)
    index = files.read_json(folder / INDEX)
    if (name := index.get("_class_name")) not in KNOWN:
        raise UserError(f"a pipeline of class {name}", where=str(folder / INDEX), remedy=f"one of {', '.join(KNOWN)}")
    return index


def unet_of(folder: Path, variant: str | None = None) -> UNet2DConditionModel:
    """The UNet in the pipeline's `folder`, float32; `UserError` where its file and its config do not name the same
    weights.
    """
    found, told = UNet2DConditionModel.from_pretrained(
        folder / "unet", variant=variant, use_safetensors=True, local_files_only=True,
        dtype=torch.float32, output_loading_info=True,
        low_cpu_mem_usage=False, ignore_mismatched_sizes=True,
    )  # fmt: skip
    problems = [("misses", told["missing_keys"]), ("has too many", told["unexpected_keys"])]
    problems.append(("has in another shape", [str(one[0]) for one in told["mismatched_keys"]]))
    for what, keys in problems:
        if keys:
            message = f"the file {what}: {', '.join(sorted(map(str, keys))[:3])}; {len(keys)} in all"
            raise UserError(message, where=str(folder / "unet"), remedy="weights and config.json of one model")
    return found


def _scheduler(folder: Path, index: dict[str, Any]) -> Any:
    import diffusers

    library, name = index["scheduler"]
    if library != "diffusers" or not hasattr(diffusers, name):
        raise UserError(f"a scheduler {library}.{name}", where=str(folder / INDEX), remedy="one of diffusers'")
    return getattr(diffusers, name).from_pretrained(folder / "scheduler", local_files_only=True)


def load(folder: Path, frames: int | None = None, *, words: bool = True, scaled: bool | None = None) -> FramesPipeline:
    """The pipeline in `folder`, float32 on the CPU, grown to `frames` frames (None: as it is; a base reads one).

    Without `words` text encoder and tokenizer are left out. `scaled` None: as the folder says, else not scaled.
    """
    index = _index(folder)
    name = index["text_encoder"][1]
    if name not in TEXT:
        raise UserError(
            f"a text encoder of class {name}", where=str(folder / INDEX), remedy=f"one of {', '.join(TEXT)}"
        )
    plain: dict[str, Any] = {"local_files_only": True}
    variant = folders.variant(folder, leave=() if words else ("text_encoder", "text_encoder_2", "image_encoder"))
    weights = plain | {"use_safetensors": True, "dtype": torch.float32, "variant": variant}
    vae = AutoencoderKL.from_pretrained(folder / "vae", **weights).eval().requires_grad_(False)
    encoder = tokenizer = None
    if words:
        encoder = TEXT[name][0].from_pretrained(folder / "text_encoder", **weights).eval().requires_grad_(False)
        tokenizer = TEXT[name][1].from_pretrained(folder / "tokenizer", **plain)
    unet = unet_of(folder, variant)
    if unet.config.in_channels == unet.config.out_channels:
        grow(unet, 1)
    if frames is not None:
        grow(unet, frames)
    scaled = bool(index.get("scaled", False)) if scaled is None else scaled
    pipeline = FramesPipeline(vae, encoder, tokenizer, unet, _scheduler(folder, index), scaled)
    pipeline.set_progress_bar_config(disable=True)
    for model in (unet, vae):
        model.to(memory_format=torch.channels_last)  # which portable convolutions need not turn first
    return pipeline
