"""The image-text model that edits are led by: a small ChineseCLIPModel trained on scenes and edits, right and wrong.

    gillnext edit_clip --config config.yaml --out results/demo/supplement/regions/clip

Trained as the scorer of the role `image_text` is (`clip.py`), with four differences. Beside every scene stands its twin
in the batch, of which one object was replaced, recoloured, or is missing: what an edit changes is what has to be told
apart. So stand pictures of the same edit made in a wrong box, where the new object covers part of what should stay and
leaves part of what should go; they have no caption, and no caption may choose them. Captions name colours as well. It
is trained for longer. The scorer, which knows no colours, judges edits and leads none.

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
from gillnext.layouts import Box
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
from gillnext.miniatures.world.scenes import Scene, cover
from gillnext.regions.masks import compose
from gillnext.regions.measures import iou
from gillnext.runtime import files, provenance, seeds, training

WRONG = 3  # pictures of each edit in wrong boxes
NEAR, FITS = 0.6, 0.6  # share of wrong boxes about the true one; the IoU with it from which a box is not wrong
HELD_OUT = 240  # pairs of twins behind those of the training


@dataclass(frozen=True)
class Twins:
    """Pairs of pictures (2 N, S, S, 3) uint8, source and edited in turn, with caption and scene of each; of each pair
    its kind, and pictures (N, W, S, S, 3) uint8 of the edit made in `WRONG` wrong boxes.
    """

    images: np.ndarray
    wrong: np.ndarray
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
        wrong = np.stack([
            [astray(images[2 * i], edit, scenes[2 * i + 1], objects, seed, first + i, k) for k in range(WRONG)]
            for i, edit in enumerate(edits)
        ])  # fmt: skip
        return cls(images, wrong, texts, scenes, [edit.kind for edit in edits])


def wrong_box(edit: Edit, rng: np.random.Generator) -> Box:
    """A box in which the edit is not made as it was asked: it fits the true one too little, be it beside it or far
    away, or, where something is added, covers a good part of what should stay. The last one tried where none of a
    hundred is such a box.
    """
    near = edit.before != "" and rng.random() < NEAR
    x1, y1, x2, y2 = edit.box
    for _ in range(100):
        if near:
            width, height = (x2 - x1) * rng.uniform(0.5, 1.7), (y2 - y1) * rng.uniform(0.5, 1.7)
            x, y = x1 + (x2 - x1) * rng.uniform(-0.7, 0.7), y1 + (y2 - y1) * rng.uniform(-0.7, 0.7)
        else:
            width, height = rng.uniform(0.2, 0.55, 2) if rng.random() < 0.7 else rng.uniform(0.2, 0.9, 2)
            x, y = rng.uniform(0, 1 - width), rng.uniform(0, 1 - height)
        corners = (max(x, 0.0), max(y, 0.0), min(x + width, 1.0), min(y + height, 1.0))
        left, top, right, bottom = map(float, corners)
        box = (left, top, max(right, left + 0.05), max(bottom, top + 0.05))
        covered = max((cover(box, other.box) for other in edit.others), default=0.0)
        if (iou(box, edit.box) < FITS) if edit.before else (covered > 0.35):
            break
    return box


def astray(
    source: np.ndarray, edit: Edit, edited: Scene, objects: Objects, *names: str | int
) -> np.ndarray:  # fmt: skip
    """The source picture with ground and the new object in a wrong box, as an inpainting there would look."""
    box = wrong_box(edit, seeds.rng("astray", *names))
    new = dataclasses.replace(edited.objects[-1], box=box)
    alone = objects.render(dataclasses.replace(edited, objects=(new,)))
    return compose(source[None], alone[None], [box], 1)[0]


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


def refused(image_BE: Tensor, wrong_BE: Tensor, text_BE: Tensor, logit_scale: Tensor) -> Tensor:
    """The cross-entropy of each caption's choice between its own picture and the one of the edit in a wrong box."""
    scale = logit_scale.exp().clamp(max=100)
    other_BE = wrong_BE.repeat_interleave(2, 0)  # of either caption of a pair
    choices = torch.stack([(text_BE * image_BE).sum(-1), (text_BE * other_BE).sum(-1)], 1) * scale
    return F.cross_entropy(choices, torch.zeros(len(choices), dtype=torch.int64, device=choices.device))


@torch.no_grad()
def validate(model: Any, processor: Any, twins: Twins) -> dict[str, float]:
    """The shares of held-out pictures that are nearer to their own caption than to their twin's, by kind of edit; and
    of editing prompts that are nearer to the right edit than to one in a wrong box (`astray`).
    """
    pixels = torch.from_numpy(twins.images).permute(0, 3, 1, 2).float().div(255).sub(MEAN).div(STD)
    image, _ = embed_images(model, pixels.to(model.device))
    text = embed_texts(model, {k: v.to(model.device) for k, v in tokenise(processor, twins.captions).items()})
    own = (image * text).sum(-1)
    other = (image * text.unflatten(0, (-1, 2)).flip(1).flatten(0, 1)).sum(-1)
    right = (own > other).float().unflatten(0, (-1, 2)).mean(1).cpu().numpy()
    kinds = np.array(twins.kinds)
    wrong = torch.from_numpy(twins.wrong[:, 0]).permute(0, 3, 1, 2).float().div(255).sub(MEAN).div(STD)
    strayed, _ = embed_images(model, wrong.to(model.device))
    straight = ((image * text).sum(-1)[1::2] > (strayed * text[1::2]).sum(-1)).float().mean()
    found = {kind: float(right[kinds == kind].mean()) for kind in KINDS}
    return found | {"all": float(right.mean()), "astray": float(straight)}


def train(cfg: Config, out: Path) -> dict[str, float]:
    """Train the model into the folder `out`; returns its scores on held-out twins."""
    settings, seed, objects = cfg.regions.clip, cfg.run.seed, of(cfg)
    device = cfg.run.device
    training.setup(settings.threads, device)
    learn = Twins.make(seed, 0, settings.corpus, objects)
    processor = make_processor(learn.captions, objects.size)
    torch.manual_seed(seeds.key("edit-clip", seed) % 2**32)
    model: Any = make_model(len(processor.tokenizer), objects.size)
    model.to(device).train()
    tokens, cells = tokenise(processor, learn.captions), cell_classes(learn.scenes, objects.size // PATCH)
    head = nn.Linear(model.config.vision_config.hidden_size, 2 * len(objects.kinds) + 1).to(device)
    shown = [tuple(caption.replace("和", "、").split("、")) for caption in learn.captions]

    def loss_at(step: int) -> Tensor:
        rng = seeds.rng("edit-clip", "batch", seed, step)
        pairs = rng.choice(len(learn.kinds), settings.batch, replace=settings.batch > len(learn.kinds))
        chosen = np.stack([2 * pairs, 2 * pairs + 1], 1).ravel()
        images_BCHW = degrade.degrade(learn.images[chosen], rng, jpegs=0.1, blurs=0.3, noisy=True)
        image_BE, patch_BPD = embed_images(model, ((images_BCHW - MEAN) / STD).to(device))
        wrong_BCHW = degrade.degrade(learn.wrong[pairs, step % WRONG], rng, jpegs=0.1, blurs=0.3, noisy=True)
        wrong_BE, _ = embed_images(model, ((wrong_BCHW - MEAN) / STD).to(device))
        longest = int(tokens["attention_mask"][chosen].sum(1).max())
        text_BE = embed_texts(model, {k: v[chosen, :longest].to(device) for k, v in tokens.items()})
        there = F.cross_entropy(head(patch_BPD).flatten(0, 1), cells[chosen].flatten().to(device))
        paired = contrastive(image_BE, text_BE, model.logit_scale, [shown[i] for i in chosen])
        return there + paired + refused(image_BE, wrong_BE, text_BE, model.logit_scale)

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
