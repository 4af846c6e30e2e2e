"""The base's UNet learns words and shapes first: windows around one object, a quarter of a picture each.

    gillnext base_on_windows --config config.yaml --vae results/demo/models/vae \\
        --text-encoder results/demo/models/text_encoder --out results/demo/models/base_on_windows

Writes `unet/`, the class map's head, and the latents of all pictures, which `gillnext base` goes on from. A stage of
its own because it can share the machine: everything waits for the base, which therefore takes every core
(`base.threads`), while windows are learned beside the data stages (`base.window_threads`).

Measured, share of 96 validation captions' objects that the evaluator finds in pictures at guidance 5, after 210–230 s
of one core: 0.44 with pictures alone, 0.56–0.64 with 600 steps on windows first.
"""

from __future__ import annotations

import argparse
import shutil
from functools import partial
from pathlib import Path

import torch
from diffusers import AutoencoderKL

from gillnext.config.arguments import add_config, add_out, config
from gillnext.config.model import Config
from gillnext.diffusion import chatglm
from gillnext.diffusion.latents import encode
from gillnext.miniatures import small_unet, training_samples
from gillnext.miniatures.class_map import ClassMapHead
from gillnext.miniatures.networks.small_chatglm import LENGTH
from gillnext.miniatures.world import corpus
from gillnext.miniatures.world.objects import of
from gillnext.runtime import files, seeds, training


def train(cfg: Config, vae_folder: Path, text_folder: Path, out: Path) -> list[float]:
    """Train an untrained UNet on windows and save it with its head and the pictures' latents; returns the losses."""
    seed, device = cfg.run.seed, torch.device(cfg.run.device)
    training.setup(cfg.base.window_threads, cfg.run.device)
    torch.manual_seed(seeds.key("base", seed))
    autoencoder = AutoencoderKL.from_pretrained(vae_folder).eval().to(device, memory_format=torch.channels_last)
    tokenizer, encoder = chatglm.load(text_folder)
    encoder.to(device)
    objects = of(cfg)
    data = corpus.make(seed, "base", cfg.base.corpus, objects)
    latents = encode(autoencoder, data.images)
    unet = small_unet.build_unet(cfg.base.channels, latents.shape[-1]).to(device, memory_format=torch.channels_last)
    head = ClassMapHead(unet, len(objects.kinds)).to(device)
    work = out.with_name(out.name + ".work")
    losses = small_unet.train(
        cfg,
        "base-windows",
        unet,
        head,
        training_samples.windows(data, latents, seed, partial(chatglm.states, tokenizer, encoder, length=LENGTH)),
        batch=cfg.base.window_batch,
        steps=cfg.base.window_steps,
        ema=0.0,
        work=work,
        made_from=[cfg.base.corpus, *map(files.sha256, (vae_folder, text_folder))],
    )
    with files.atomic(out) as temporary:
        temporary.mkdir()
        small_unet.save(temporary, unet, head, latents)
    shutil.rmtree(work, ignore_errors=True)
    return losses


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("--vae", type=Path, required=True, help="folder of the trained AutoencoderKL")
    parser.add_argument("--text-encoder", type=Path, required=True, help="folder that `gillnext text_encoder` wrote")
    add_out(parser, "folder of the UNet, the class map's head and the latents")


def main(args: argparse.Namespace) -> None:
    print(small_unet.in_words(train(config(args), args.vae, args.text_encoder, args.out)))
