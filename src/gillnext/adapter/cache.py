"""Encode the annotated images and captions once, for every arm and seed.

    gillnext cache --config config.yaml --base results/demo/models/base \\
        --layouts results/demo/layouts/*.jsonl --out results/demo/cache

Writes `train.safetensors`: latents (N, 4, h, w), text states (N, T, D), pooled states (N, D), boxes (N, slots, 4) in
unit xyxy, which slots are real (N, slots), phrase embeddings (N, slots, C), and the states (T, D) and pooled states (D)
of the empty caption. `captions.json` has the N captions.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import KolorsPipeline
from PIL import Image, ImageOps
from safetensors.torch import load_file, save_file
from torch import Tensor

from gillnext import layouts
from gillnext.adapter.grounding import pad
from gillnext.adapter.phrases import PhraseTable, text_length
from gillnext.config.arguments import add_config, add_out, config
from gillnext.config.model import Config
from gillnext.diffusion import chatglm, latents
from gillnext.layouts import MAX_BOXES
from gillnext.runtime import files, training
from gillnext.runtime.errors import UserError
from gillnext.runtime.progress import track


@dataclass(frozen=True)
class Cache:
    """Everything that adapter training reads, of R rows with N box slots: latents (R, 4, h, w), scaled as the UNet
    wants them; states (R, T, D) and pooled (R, P) of the captions; boxes (R, N, 4), xyxy in [0, 1]; real (R, N) bool,
    which slots are filled; phrases (R, N, C), in the width of the UNet's cross-attention; empty_states (T, D) and
    empty_pooled (P,) of the empty caption.
    """

    latents: Tensor
    states: Tensor
    pooled: Tensor
    boxes: Tensor
    real: Tensor
    phrases: Tensor
    empty_states: Tensor
    empty_pooled: Tensor

    @classmethod
    def load(cls, folder: Path) -> Cache:
        return cls(**load_file(Path(folder) / "train.safetensors"))

    def __len__(self) -> int:
        return len(self.latents)


def captions(folder: Path) -> list[str]:
    """The captions of the cache's rows, in order."""
    return files.read_json(Path(folder) / "captions.json")


def load_image(layout: layouts.Layout, size: int) -> np.ndarray:
    """The layout's picture, (size, size, 3) uint8 RGB."""
    try:
        with Image.open(layout.image_path) as image:
            upright = ImageOps.exif_transpose(image)  # as the annotator saw it
            return np.asarray(upright.convert("RGB").resize((size, size), Image.Resampling.LANCZOS))
    except OSError as error:
        raise UserError(
            f"cannot read the image: {error}",
            where=f"layout {layout.id or layout.caption!r}: {layout.image_path}",
            remedy="run the download stage again, or drop the row",
        ) from error


def build(cfg: Config, base: Path, rows: list[layouts.Layout], out: Path) -> Cache:
    """Encode `rows` with the base pipeline and write the cache."""
    training.setup(cfg.run.threads, cfg.run.device)
    usable = [row for row in rows if 0 < len(row.boxes) <= MAX_BOXES]
    if not usable:
        raise UserError("no layout with a box", where=str(out), remedy="look at the counts of the annotate stage")
    pipeline = KolorsPipeline.from_pretrained(base, local_files_only=True).to(cfg.run.device)
    size = pipeline.unet.config.sample_size * pipeline.vae_scale_factor
    images = np.stack([load_image(row, size) for row in track(usable, "cache", len(usable), "images")])
    states, pooled = chatglm.states(
        pipeline.tokenizer, pipeline.text_encoder, [*(row.caption for row in usable), ""], text_length(pipeline)
    )
    boxes, real = pad([row.boxes for row in usable])
    phrases = PhraseTable(pipeline, MAX_BOXES)([row.names for row in usable]).cpu()
    encoded = latents.encode(pipeline.vae, images)
    cache = Cache(encoded, states[:-1], pooled[:-1], boxes, real, phrases, states[-1], pooled[-1])
    with files.atomic(out) as temporary:
        temporary.mkdir()
        save_file({k: v.contiguous() for k, v in vars(cache).items()}, temporary / "train.safetensors")
        files.write_json(temporary / "captions.json", [row.caption for row in usable])
        files.write_json(temporary / "cache.json", {"layouts": len(rows), "used": len(usable)})
    return cache


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("--base", type=Path, required=True, help="folder of the KolorsPipeline")
    parser.add_argument("--layouts", type=Path, nargs="+", required=True, help="annotated layouts, JSONL")
    add_out(parser, "folder of the cache")


def main(args: argparse.Namespace) -> None:
    rows = [row for path in args.layouts for row in layouts.read(path)]
    with torch.no_grad():
        cache = build(config(args), args.base, rows, args.out)
    print(f"{len(cache)} of {len(rows)} layouts encoded")
