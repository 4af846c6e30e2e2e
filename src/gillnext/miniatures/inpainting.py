"""The demo's inpainting UNet: the base's, grown from 4 to 9 input channels and trained to fill boxes.

    gillnext inpainting --config config.yaml --base reference/models/base \\
        --out results/demo/supplement/regions/inpainting

Beside the noise it is given mask and latents of the masked picture (Rombach et al., 2022). The new weights begin at
zero: before the first step it is the base. A sample is an object of a drawn scene: its box, somewhat widened, is grey,
and the caption names that object alone, half of the time with its colour. A tenth has the empty caption, for guidance,
and as many show ground to be continued. What is seen is a square about the box (`regions.crop`), as when boxes are
filled. The base itself is only read.

Letters: N samples, C channels, h and w cells of the latents.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional as F

from gillnext.adapter import pipeline as grounded
from gillnext.config.arguments import add_config, add_out, config
from gillnext.config.model import Config
from gillnext.diffusion import latents as latents_
from gillnext.diffusion.objective import target, timesteps, training_scheduler
from gillnext.layouts import Box
from gillnext.miniatures.world import captions, colours
from gillnext.miniatures.world.objects import Objects, of
from gillnext.regions import crops, masks
from gillnext.regions.inpaint import conditions, masked_latents
from gillnext.runtime import contents, files, provenance, seeds, training

EXTRA = 5  # channels: the mask, and four of the masked picture
GROUND = 0.1  # share of samples that show no object inside their box
DROP = 0.1  # share of empty captions
WIDER = 0.12  # most that each side of a box is moved outwards, in sides of the box


def grown(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """A copy of a UNet that takes `EXTRA` more channels, of weights zero: it gives what the UNet gives."""
    settings = dict(unet.config) | {"in_channels": unet.config.in_channels + EXTRA}
    copy = UNet2DConditionModel.from_config(settings)
    weights = {name: value.clone() for name, value in unet.state_dict().items()}
    first = weights["conv_in.weight"]
    weights["conv_in.weight"] = torch.cat([first, first.new_zeros(len(first), EXTRA, *first.shape[2:])], 1)
    copy.load_state_dict(weights)
    return copy.to(unet.dtype)


class Sample(NamedTuple):
    """A square of a picture (h, w, 3) uint8, the box to be filled in it, and what to fill it with."""

    pixels: np.ndarray
    box: Box
    caption: str


def widened(box: Box, rng: np.random.Generator) -> Box:
    x1, y1, x2, y2 = box
    left, top, right, bottom = rng.uniform(0, WIDER, 4)
    width, height = x2 - x1, y2 - y1
    return (
        max(x1 - left * width, 0.0), max(y1 - top * height, 0.0), min(x2 + right * width, 1.0),
        min(y2 + bottom * height, 1.0),
    )  # fmt: skip


def sample(seed: int, index: int, objects: Objects, coloured: float, crop: float, side: int) -> Sample:
    """Sample `index`: an object of its scene, or ground without one."""
    scene, rng = objects.sample(seed, "inpainting", index), seeds.rng("inpainting", seed, index)
    picture = objects.render(scene)
    thing = scene.objects[int(rng.integers(len(scene.objects)))]
    if rng.random() < GROUND:
        (box,), caption = objects.boxes(rng, 1), ""
    else:
        box = widened(thing.box, rng)
        alone = dataclasses.replace(scene, objects=(thing,))
        caption = captions.naming(alone, rng)
        colour = colours.name_of(thing)
        if colour and rng.random() < coloured:
            caption = caption.replace(thing.kind.phrase, colours.phrase(thing.kind, colour))
    square = crops.square(box, picture.shape[:2], crop)
    return Sample(crops.cut(picture, square, side), crops.within(box, square, picture.shape[:2]), caption)


class Samples:
    """All samples: latents, masks, masked latents, and the states of their captions."""

    @torch.no_grad()
    def __init__(self, cfg: Config, pipeline: Any) -> None:
        settings, seed, objects = cfg.regions.training, cfg.run.seed, of(cfg)
        side = cfg.regions.side or objects.size
        made = [
            sample(seed, i, objects, settings.coloured, cfg.regions.crop, side) for i in range(settings.corpus)
        ]  # fmt: skip
        pixels = np.stack([one.pixels for one in made])
        holes = np.stack([masks.mask(one.box, (side, side)) for one in made])
        self.latents = latents_.encode(pipeline.vae, pixels, batch=64)  # (N, 4, h, w)
        self.masked = masked_latents(pipeline.vae, pixels, holes)
        self.masks = F.adaptive_max_pool2d(torch.from_numpy(holes)[:, None], self.latents.shape[-2:])
        texts = ["", *dict.fromkeys(one.caption for one in made if one.caption)]
        number = {text: i for i, text in enumerate(texts)}
        self.caption = torch.tensor([number[one.caption] for one in made])
        parts = [pipeline.encode_prompt(texts[i : i + 64], do_classifier_free_guidance=False) for i in
                 range(0, len(texts), 64)]  # fmt: skip
        self.states = torch.cat([part[0] for part in parts])
        self.pooled = torch.cat([part[2] for part in parts])
        self.time_ids = conditions(side)

    def __len__(self) -> int:
        return len(self.latents)


def loss(unet: UNet2DConditionModel, samples: Samples, scheduler: Any, batch: int, *names: str | int) -> Tensor:
    """The denoising loss of a batch that `names` draw; cells to be filled count as much as all others together."""
    generator = seeds.torch_generator(*names)
    pick = torch.randint(len(samples), (batch,), generator=generator)
    drop = torch.rand(batch, generator=generator) < DROP
    at = timesteps(batch, scheduler.config.num_train_timesteps, generator)
    clean, hole = samples.latents[pick], samples.masks[pick]
    noise = torch.randn(clean.shape, generator=generator)
    caption = torch.where(drop, 0, samples.caption[pick])
    device = next(unet.parameters()).device
    given = torch.cat([scheduler.add_noise(clean, noise, at), hole, samples.masked[pick]], 1)
    added = {
        "text_embeds": samples.pooled[caption].to(device),
        "time_ids": samples.time_ids.expand(batch, -1).to(device),
    }
    said = unet(
        given.to(device, memory_format=torch.channels_last), at.to(device), samples.states[caption].to(device),
        added_cond_kwargs=added,
    ).sample  # fmt: skip
    wrong = (said - target(scheduler, clean, noise, at).to(device)).square().mean(1, keepdim=True)
    weight = hole / hole.mean((2, 3), keepdim=True).clamp(min=1e-3) + 1
    return (wrong * weight.to(device)).mean() / 2


def train(cfg: Config, base: Path, out: Path) -> list[float]:
    """Train the grown UNet into the folder `out`; returns the losses."""
    settings, seed = cfg.regions.training, cfg.run.seed
    training.setup(settings.threads, cfg.run.device)
    pipeline, before = grounded.load(base, None, cfg.run.device), contents.sha256(base)
    samples, scheduler = Samples(cfg, pipeline), training_scheduler(pipeline.scheduler.config)
    unet = grown(pipeline.unet).to(cfg.run.device, memory_format=torch.channels_last).train()
    parameters: list[nn.Parameter] = list(unet.parameters())
    work = out.with_name(out.name + ".work")
    losses = training.train(
        "inpainting", parameters, lambda step: loss(unet, samples, scheduler, settings.batch, "inpainting", seed, step),
        steps=settings.steps, lr=settings.lr, work=work, ema_decay=0.98,
        settings=[dataclasses.asdict(settings), seed, cfg.regions.crop, cfg.regions.side, before],
    )  # fmt: skip
    with files.atomic(out) as folder:
        unet.to("cpu").eval().save_pretrained(folder)
        last = losses[-max(len(losses) // 10, 1) :]
        files.write_json(folder / "training.json", {
            "base": before, "base_afterwards": files.sha256(base), "loss": sum(last) / max(len(last), 1),
            "crop": cfg.regions.crop, "side": cfg.regions.side, "provenance": provenance.stamp(),
        })  # fmt: skip
    shutil.rmtree(work, ignore_errors=True)
    return losses


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("--base", type=Path, required=True, metavar="FOLDER", help="the base that is grown; only read")
    add_out(parser, "folder of the UNet of 9 channels: config.json, weights, training.json")


def main(args: argparse.Namespace) -> None:
    losses = train(config(args), args.base, args.out)
    last = losses[-max(len(losses) // 10, 1) :]
    print(f"mean loss of the last tenth: {sum(last) / max(len(last), 1):.4f}")
