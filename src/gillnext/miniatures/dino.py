"""A small self-supervised ViT: self-distillation without labels (DINO; Caron et al., 2021) on the world's pictures.

    gillnext dino --config config.yaml --out results/demo/supplement/regions/dino

Of every picture two large and two small crops are taken, their colours shifted. A student sees all of them, a teacher
the large ones; what the student says of one crop is to be what the teacher says of another. The teacher is the
student's moving average, its outputs are centred and sharpened. It is the teacher that is kept, a ViTModel of
transformers.

dino.json tells, of held-out scenes, which share of the nine strongest patches of its class token's attention falls on
an object: of the trained network, of an untrained one, and by chance (the share of the picture that objects cover).

Letters: B pictures, C channels, H rows, W columns, D width, K prototypes.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import ViTConfig, ViTModel

from gillnext.config import regions
from gillnext.config.arguments import add_config, add_out, config
from gillnext.config.model import Config
from gillnext.miniatures.world import corpus
from gillnext.miniatures.world.corpus import Corpus
from gillnext.miniatures.world.objects import of
from gillnext.regions.eyes import Eyes, smoothed, spread
from gillnext.runtime import files, provenance, seeds, training

LARGE, SMALL = (0.65, 1.0), (0.35, 0.6)  # side of a crop, as a share of the picture's
STUDENT, TEACHER = 0.1, 0.04  # temperatures
CENTRING = 0.9  # momentum of the centre
HELD_OUT = 200  # scenes behind those of the training, for dino.json
ANCHORS = 9


def build(settings: regions.Dino, size: int) -> ViTModel:
    """An untrained ViT for pictures of `size` pixels a side."""
    shape = ViTConfig(
        hidden_size=settings.hidden, num_hidden_layers=settings.layers, num_attention_heads=settings.heads,
        intermediate_size=2 * settings.hidden, image_size=size, patch_size=settings.patch, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    return ViTModel(shape, add_pooling_layer=False)


class Network(nn.Module):
    """The ViT and DINO's head: K outputs of a class token, of unit prototypes."""

    def __init__(self, settings: regions.Dino, size: int) -> None:
        super().__init__()
        self.vit = build(settings, size)
        width = 2 * settings.hidden
        self.head = nn.Sequential(nn.Linear(settings.hidden, width), nn.GELU(), nn.Linear(width, 64))
        self.prototypes = nn.Parameter(torch.randn(settings.prototypes, 64))

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        states_BTD = self.vit(pixels_BCHW, interpolate_pos_encoding=True).last_hidden_state
        embedding = F.normalize(self.head(states_BTD[:, 0]), dim=-1)  # (B, 64)
        return embedding @ F.normalize(self.prototypes, dim=-1).T  # (B, K)


def crops(images_BCHW: Tensor, sides: tuple[float, float], size: int, generator: torch.Generator) -> Tensor:
    """A crop of each picture (B, 3, size, size), in [-1, 1]: of a random side and place, half of them mirrored, every
    channel stretched and shifted.
    """
    count = len(images_BCHW)
    share = sides[0] + (sides[1] - sides[0]) * torch.rand(count, generator=generator)
    shift = (2 * torch.rand(count, 2, generator=generator) - 1) * (1 - share)[:, None]
    mirror = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1], theta[:, :, 2] = share * mirror, share, shift
    grid = F.affine_grid(theta, [count, 3, size, size], align_corners=False)
    found = F.grid_sample(images_BCHW, grid, mode="bilinear", padding_mode="border", align_corners=False)
    stretch = 0.6 + 0.8 * torch.rand(count, 3, 1, 1, generator=generator)
    offset = 0.4 * torch.rand(count, 3, 1, 1, generator=generator) - 0.2
    return (found * stretch + offset).clamp(-1, 1)


class Distillation(nn.Module):
    """Student, teacher and centre. What is not learned lies in parameters too, so that checkpoints hold all of it."""

    def __init__(self, settings: regions.Dino, size: int) -> None:
        super().__init__()
        self.settings, self.size = settings, size
        self.student = Network(settings, size)
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        self.centre = nn.Parameter(torch.zeros(settings.prototypes), requires_grad=False)

    def follow(self, step: int) -> None:
        """The teacher moves towards the student; less and less."""
        share = 0.5 * (1 - self.settings.momentum) * (1 + math.cos(math.pi * step / self.settings.steps))
        with torch.no_grad():
            for own, other in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
                own.lerp_(other, share)

    def loss(self, images_BCHW: Tensor, step: int, generator: torch.Generator) -> Tensor:
        """The cross-entropies of every pair of crops but of a crop with itself."""
        self.follow(step)
        device = self.centre.device
        large = [crops(images_BCHW, LARGE, self.size, generator).to(device) for _ in range(2)]
        small = [crops(images_BCHW, SMALL, self.size // 2, generator).to(device) for _ in range(2)]
        with torch.no_grad():
            told_2BK = self.teacher(torch.cat(large)).unflatten(0, (2, -1))
            wanted_2BK = ((told_2BK - self.centre) / TEACHER).softmax(-1)
            self.centre.mul_(CENTRING).add_(told_2BK.mean((0, 1)), alpha=1 - CENTRING)
        said = [*self.student(torch.cat(large)).chunk(2), *self.student(torch.cat(small)).chunk(2)]
        logs = [(one / STUDENT).log_softmax(-1) for one in said]  # (B, K) each
        pairs = [(t, s) for t in range(2) for s in range(len(logs)) if s != t]
        losses = torch.stack([-(wanted_2BK[t] * logs[s]).sum(-1).mean() for t, s in pairs])
        return losses.mean()


def on_objects(eyes: Eyes, data: Corpus, smooth: int, apart: int) -> dict[str, float]:
    """The shares that fall on an object's box: of the strongest patches, of anchors (smoothed and spread out as edits
    take them), and of all patches.
    """
    maps_NHW = eyes.attention(data.images)
    shares: dict[str, list[float]] = {"strongest": [], "spread": [], "chance": []}
    for scene, attention_HW in zip(data.scenes, maps_NHW, strict=True):
        rows, columns = attention_HW.shape
        x, y = (np.arange(columns) + 0.5) / columns, (np.arange(rows) + 0.5) / rows
        inside = np.zeros((rows, columns), bool)
        for x1, y1, x2, y2 in scene.boxes:
            inside |= ((y > y1) & (y < y2))[:, None] & ((x > x1) & (x < x2))[None]
        anchors = {"strongest": spread(attention_HW, ANCHORS, 0)}
        anchors["spread"] = spread(smoothed(attention_HW, smooth), ANCHORS, apart)
        for name, places in anchors.items():
            shares[name].append(float(np.mean([inside[place] for place in places])))
        shares["chance"].append(float(inside.mean()))
    return {name: float(np.mean(found)) for name, found in shares.items()} | {"n": len(data.scenes)}


def train(cfg: Config, out: Path) -> dict[str, Any]:
    """Train the ViT into the folder `out`; returns what dino.json tells."""
    settings, seed, objects = cfg.regions.dino, cfg.run.seed, of(cfg)
    training.setup(settings.threads, cfg.run.device)
    torch.manual_seed(seeds.key("dino", seed))
    data = corpus.make(seed, "dino", settings.corpus, objects)
    images_NCHW = torch.from_numpy(data.images).permute(0, 3, 1, 2).float() / 127.5 - 1
    model = Distillation(settings, objects.size).to(cfg.run.device)
    untrained = copy.deepcopy(model.teacher.vit)

    def loss_at(step: int) -> Tensor:
        generator = seeds.torch_generator("dino", seed, step)
        chosen = torch.randint(len(images_NCHW), (settings.batch,), generator=generator)
        return model.loss(images_NCHW[chosen], step, generator)

    work = out.with_name(out.name + ".work")
    training.train(
        "dino", list(model.parameters()), loss_at, steps=settings.steps, lr=settings.lr, work=work,
        weight_decay=0.04, settings=[dataclasses.asdict(settings), seed, objects.size],
    )  # fmt: skip
    held_out = corpus.make(seed, "dino-test", HELD_OUT, objects)
    report: dict[str, Any] = {"anchors": ANCHORS, "provenance": provenance.stamp()}
    with files.atomic(out) as folder:
        networks: dict[str, Any] = {"untrained": untrained, "trained": model.teacher.vit}
        for name, network in networks.items():
            network.to("cpu").eval().save_pretrained(folder)
            report[name] = on_objects(
                Eyes.load(folder, cfg.run.device), held_out, cfg.regions.smooth, cfg.regions.apart
            )
        files.write_json(folder / "dino.json", report)
    shutil.rmtree(work, ignore_errors=True)
    return report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    add_out(parser, "folder of the ViTModel: config.json, model.safetensors, dino.json")


def main(args: argparse.Namespace) -> None:
    report = train(config(args), args.out)
    for name in ("trained", "untrained"):
        print(f"{name}: {report[name]['strongest']:.3f} of the strongest patches are on an object")
    print(f"chance: {report['trained']['chance']:.3f}")
