"""The image-text model that edits are led by: a small ChineseCLIPModel trained on scenes and their edited twins.

    gillnext edit-clip --config config.yaml --out results/demo/supplement/regions/clip

Trained as the scorer of the role `image_text` is (`clip.py`), with three differences. Beside every scene stands its
twin in the batch, of which one object was replaced, recoloured, or is missing: what an edit changes is what has to be
told apart. Captions name colours as well. It is trained for longer. The scorer, which knows no colours, judges edits
and leads none.

training.json tells of held-out pairs how often a picture is nearer to its own caption than to its twin's, by kind of
twin; chance is one half.

Letters: B pairs, P patches, D hidden width, E embedding width.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gillnext.config.arguments import add_config, add_out, config
from gillnext.config.model import Config
from gillnext.miniatures import degrade
from gillnext.miniatures.clip import (
    MEAN,
    PATCH,
    STD,
    contrastive,
    embed_images,
    embed_texts,
    make_model,
    make_processor,
    tokenise,
)
from gillnext.miniatures.world import colours
from gillnext.miniatures.world.edits import KINDS, Edit, result, tell
from gillnext.miniatures.world.objects import Objects, of
from gillnext.miniatures.world.scenes import Scene
from gillnext.runtime import files, provenance, seeds, training

HELD_OUT = 240  # pairs of twins behind those of the training


@dataclass(frozen=True)
class Twins:
    """Pairs of pictures (2 N, S, S, 3) uint8, source and edited in turn, with caption and scene of each, and of each
    pair its kind.
    """

    images: np.ndarray
    captions: list[str]
    scenes: list[Scene]
    kinds: list[str]

    @classmethod
    def make(cls, seed: int, first: int, count: int, objects: Objects) -> Twins:
        """Pairs `first` to `first + count` of the stream "edit-clip"."""
        edits: list[Edit] = []
        index = first
        while len(edits) < count:
            kind = KINDS[len(edits) % len(KINDS)]
            scene, rng = objects.sample(seed, "edit-clip", index), seeds.rng("edit-clip", seed, index)
            if edit := tell(kind, scene, rng, objects):
                edits.append(edit)
            index += 1
        scenes = [scene for i, edit in enumerate(edits) for scene in (edit.scene, result(edit, seed, first + i))]
        texts = [text for edit in edits for text in edit.prompts]
        images = np.stack([objects.render(scene) for scene in scenes])
        return cls(images, texts, scenes, [edit.kind for edit in edits])


def cell_classes(scenes: Sequence[Scene], cells: int) -> Tensor:
    """What stands at the centre of each cell, (N, cells, cells): its kind and colour, 0 for ground."""
    centre = (np.arange(cells) + 0.5) / cells
    labels = torch.zeros(len(scenes), cells, cells, dtype=torch.int64)
    for grid, scene in zip(labels, scenes, strict=True):
        for thing in scene.objects:
            x1, y1, x2, y2 = thing.box
            inside = ((centre > y1) & (centre < y2))[:, None] & ((centre > x1) & (centre < x2))[None]
            grid[torch.from_numpy(inside)] = 1 + 2 * thing.kind.id + (colours.index_of(thing) or 0)
    return labels


@torch.no_grad()
def validate(model: Any, processor: Any, twins: Twins) -> dict[str, float]:
    """The shares of held-out pictures that are nearer to their own caption than to their twin's."""
    pixels = torch.from_numpy(twins.images).permute(0, 3, 1, 2).float().div(255).sub(MEAN).div(STD)
    image, _ = embed_images(model, pixels.to(model.device))
    text = embed_texts(model, {k: v.to(model.device) for k, v in tokenise(processor, twins.captions).items()})
    own = (image * text).sum(-1)
    other = (image * text.unflatten(0, (-1, 2)).flip(1).flatten(0, 1)).sum(-1)
    right = (own > other).float().unflatten(0, (-1, 2)).mean(1).cpu().numpy()
    kinds = np.array(twins.kinds)
    return {kind: float(right[kinds == kind].mean()) for kind in KINDS} | {"all": float(right.mean())}


def train(cfg: Config, out: Path) -> dict[str, float]:
    """Train the model into the folder `out`; returns its scores on held-out twins."""
    settings, seed, objects = cfg.regions.clip, cfg.run.seed, of(cfg)
    device = cfg.run.device
    training.setup(settings.threads, device)
    learn = Twins.make(seed, 0, settings.corpus, objects)
    processor = make_processor(learn.captions, objects.size)
    torch.manual_seed(seeds.key("edit-clip", seed) % 2**32)
    model: Any = make_model(len(processor.tokenizer), objects.size).to(device).train()
    tokens, cells = tokenise(processor, learn.captions), cell_classes(learn.scenes, objects.size // PATCH)
    head = nn.Linear(model.config.vision_config.hidden_size, 2 * len(objects.kinds) + 1).to(device)
    shown = [tuple(caption.replace("和", "、").split("、")) for caption in learn.captions]

    def loss_at(step: int) -> Tensor:
        rng = seeds.rng("edit-clip", "batch", seed, step)
        pairs = rng.choice(len(learn.kinds), settings.batch, replace=settings.batch > len(learn.kinds))
        chosen = np.stack([2 * pairs, 2 * pairs + 1], 1).ravel()
        images_BCHW = degrade.degrade(learn.images[chosen], rng, jpegs=0.1, blurs=0.3, noisy=True)
        image_BE, patch_BPD = embed_images(model, ((images_BCHW - MEAN) / STD).to(device))
        longest = int(tokens["attention_mask"][chosen].sum(1).max())
        text_BE = embed_texts(model, {k: v[chosen, :longest].to(device) for k, v in tokens.items()})
        there = F.cross_entropy(head(patch_BPD).flatten(0, 1), cells[chosen].flatten().to(device))
        return there + contrastive(image_BE, text_BE, model.logit_scale, [shown[i] for i in chosen])

    work = out.with_name(out.name + ".work")
    training.train(
        "edit-clip", [*model.parameters(), *head.parameters()], loss_at, steps=settings.steps, lr=settings.lr,
        work=work, settings=[dataclasses.asdict(settings), seed],
    )  # fmt: skip
    held_out = Twins.make(seed, 10**8, HELD_OUT, objects)
    scores = validate(model.eval(), processor, held_out)
    with files.atomic(out) as folder:
        model.to("cpu").save_pretrained(folder)
        processor.save_pretrained(folder)
        files.write_json(folder / "training.json", {"twins": scores, "n": HELD_OUT, "provenance": provenance.stamp()})
    shutil.rmtree(work, ignore_errors=True)
    return scores


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    add_out(parser, "folder of the model: a ChineseCLIPModel with its processor")


def main(args: argparse.Namespace) -> None:
    scores = train(config(args), args.out)
    print("nearer to its own caption than to its twin's: " + ", ".join(f"{k} {v:.3f}" for k, v in scores.items()))
