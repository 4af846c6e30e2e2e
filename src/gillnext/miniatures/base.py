"""The base text-to-image model of the demo tier: a UNet, saved with VAE and text side as one `KolorsPipeline`.

Takes up the UNet that has learned windows (`base_on_windows.py`) and trains it on whole pictures. Captions name the
objects; a share of them says where things are, as web captions do. The averaged (EMA) weights are saved, with a
DPM-Solver++ scheduler.

Measured, box fidelity of attn2 on 256 validation layouts: success 0.86 and mIoU 0.65 without the class map, 0.91 and
0.69 with it.

    gillnext base --config config.yaml --vae results/demo/models/vae \\
        --text-encoder results/demo/models/text_encoder --windows results/demo/models/base_on_windows \\
        --out results/demo/models/base
"""

from __future__ import annotations

import argparse
import shutil
from functools import partial
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, KolorsPipeline

from gillnext.config.arguments import add_config, add_out, config
from gillnext.config.model import Config
from gillnext.diffusion import chatglm
from gillnext.miniatures import small_unet, training_samples
from gillnext.miniatures.networks.small_chatglm import LENGTH
from gillnext.miniatures.world import corpus
from gillnext.miniatures.world.objects import of
from gillnext.runtime import files, training


def train(cfg: Config, vae_folder: Path, text_folder: Path, windows_folder: Path, out: Path) -> list[float]:
    """Train the UNet of `windows_folder` on pictures and save the pipeline to `out`; returns the losses."""
    seed, device = cfg.run.seed, torch.device(cfg.run.device)
    training.setup(cfg.base.threads, cfg.run.device)
    tokenizer, encoder = chatglm.load(text_folder)
    encoder.to(device)
    scenes, namings = corpus.describe(seed, "base", cfg.base.corpus, of(cfg))
    captions = training_samples.picture_captions(scenes, namings, seed)
    unet, head, latents = small_unet.load(windows_folder, device)
    encode = partial(chatglm.states, tokenizer, encoder, length=LENGTH)
    work = out.with_name(out.name + ".work")
    losses = small_unet.train(
        cfg,
        "base",
        unet,
        head,
        training_samples.pictures(scenes, latents, captions, encode, cfg.world.size),
        batch=cfg.base.batch,
        steps=cfg.base.steps,
        ema=cfg.base.ema,
        work=work,
        made_from=[cfg.base.corpus, *map(files.sha256, (text_folder, windows_folder))],
    )
    pipeline = KolorsPipeline(
        vae=AutoencoderKL.from_pretrained(vae_folder).eval(),
        text_encoder=encoder,
        tokenizer=tokenizer,
        unet=unet.eval(),
        scheduler=DPMSolverMultistepScheduler(**small_unet.SCHEDULE),
        force_zeros_for_empty_prompt=False,
    )
    with files.atomic(out) as temporary:
        pipeline.to("cpu", torch.float32).save_pretrained(temporary)
    shutil.rmtree(work, ignore_errors=True)
    return losses


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("--vae", type=Path, required=True, help="folder of the trained AutoencoderKL")
    parser.add_argument("--text-encoder", type=Path, required=True, help="folder that `gillnext text_encoder` wrote")
    parser.add_argument("--windows", type=Path, required=True, help="folder that `gillnext base_on_windows` wrote")
    add_out(parser, "folder of the KolorsPipeline")


def main(args: argparse.Namespace) -> None:
    print(small_unet.in_words(train(config(args), args.vae, args.text_encoder, args.windows, args.out)))
