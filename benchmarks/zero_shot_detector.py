"""Train a miniature OWLv2 of the real class on the drawn world, and look for its objects by name as a lab would.

A checkpoint in the published form that finds what it is asked for: to rehearse annotators and evaluators where
none can be fetched. Each patch whose centre lies in the middle of an object says its name (focal loss over the names)
and its box (L1 and generalised IoU).

    python benchmarks/zero_shot_detector.py --steps 500 --out owlv2

Writes the folder, and names.tsv beside it (猫, tab, cat); prints success@0.5 on held-out scenes.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import generalized_box_iou_loss, sigmoid_focal_loss

from gillnext.boxes import iou
from gillnext.config.data import ZeroShot
from gillnext.instruments import open_vocabulary, phrases, zero_shot
from gillnext.miniatures.networks import small_zero_shot
from gillnext.miniatures.world import corpus
from gillnext.miniatures.world.classes import CLASSES
from gillnext.runtime import seeds, training
from gillnext.runtime.progress import track

SEED, SIZE, PATCH = 20260, 64, 8
MIDDLE = 0.5  # share of an object's width and height whose patches answer for it
WORDS = {kind.name: kind.key for kind in CLASSES}


def make() -> tuple[Any, Any]:
    """An untrained model; the library's initialisation, for hundreds of millions of pictures, learns nothing here."""
    model, processor = small_zero_shot.owlv2(WORDS.values(), SIZE, PATCH, width=96, layers=3)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "token_embedding" in name or "position_embedding" in name:
                weight.normal_(0, 0.5)
            elif weight.ndim == 2:
                torch.nn.init.xavier_uniform_(weight)
        model.class_head.logit_shift.bias.fill_(-3.0)
        model.class_head.logit_scale.bias.fill_(4.0)
    return model, processor


def responsible(box: np.ndarray) -> Tensor:
    """Places of the patches that answer for a box, at least the one that its centre lies in."""
    centres = (np.arange(SIZE // PATCH) + 0.5) * PATCH / SIZE
    middle, half = (box[:2] + box[2:]) / 2, np.maximum((box[2:] - box[:2]) / 2 * MIDDLE, 0.5 * PATCH / SIZE)
    x, y = (np.abs(centres - m) <= h + 1e-9 for m, h in zip(middle, half, strict=True))
    return torch.from_numpy(np.flatnonzero(np.outer(y, x)))


def loss_of(model: Any, pixels_BCHW: Tensor, text: dict[str, Tensor], scenes: list[Any]) -> Tensor:
    """The loss of a batch, every picture asked for all names."""
    count = len(pixels_BCHW)
    output = model(pixel_values=pixels_BCHW, **{key: ids.repeat(count, 1) for key, ids in text.items()})
    centre, size = output.pred_boxes.split(2, -1)
    corners = torch.cat([centre - size / 2, centre + size / 2], -1)
    wanted, seen, true = torch.zeros_like(output.logits), [], []
    for b, scene in enumerate(scenes):
        for thing in scene.objects:
            places = responsible(np.array(thing.box))
            wanted[b, places, thing.kind.id] = 1
            seen.append(corners[b, places])
            true.append(torch.tensor(thing.box).float().expand(len(places), 4))
    boxes, targets = torch.cat(seen), torch.cat(true)
    named = sigmoid_focal_loss(output.logits, wanted, reduction="sum") / len(boxes)
    return named + 5 * F.l1_loss(boxes, targets) + 2 * generalized_box_iou_loss(boxes, targets, reduction="mean")


def train(model: Any, processor: Any, data: corpus.Corpus, steps: int, batch: int, lr: float) -> None:
    """AdamW, the rate rising over a tenth of the steps and falling to nothing."""
    pixels_NCHW = processor.image_processor(images=list(data.images), return_tensors="pt")["pixel_values"]
    read = processor.tokenizer(list(WORDS.values()), padding="max_length", max_length=16, return_tensors="pt")
    text = {key: read[key] for key in ("input_ids", "attention_mask")}
    optimiser = torch.optim.AdamW(model.train().parameters(), lr=lr)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, lr, steps, pct_start=0.1)
    for step in track(range(steps), "zero-shot", steps, "steps"):
        chosen = seeds.rng("zero_shot", SEED, step).choice(len(data.scenes), batch, replace=False)
        loss = loss_of(model, pixels_NCHW[chosen], text, [data.scenes[i] for i in chosen])
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        rate.step()
    model.eval()


def success(folder: Path, names: Path, count: int = 100) -> float:
    """Share of held-out objects whose likeliest box has an IoU of 0.5 or more, by the evaluators' own path."""
    evaluator = open_vocabulary.ZeroShotEvaluator(zero_shot.load(folder, ZeroShot()), phrases.read(names))
    data = corpus.make(SEED, "zero_shot_test", count)
    found = evaluator.detect_named(list(data.images), [scene.names for scene in data.scenes], 32)
    hits = []
    for scene, one in zip(data.scenes, found, strict=True):
        for thing in scene.objects:
            best = one.best(evaluator.labels[thing.kind.name])
            hits.append(best is not None and iou(np.array([thing.box]), best[0])[0, 0] >= 0.5)
    return float(np.mean(hits))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--scenes", type=int, default=2_000)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint")
    args = parser.parse_args()
    training.setup(1)
    torch.manual_seed(seeds.key("weights", "zero_shot", SEED))
    model, processor = make()
    train(model, processor, corpus.make(SEED, "zero_shot", args.scenes), args.steps, args.batch, args.lr)
    small_zero_shot.save((model, processor), args.out)
    names = args.out.with_name("names.tsv")
    phrases.write(names, WORDS)
    print(json.dumps({"steps": args.steps, "success50": round(success(args.out, names), 3)}))


if __name__ == "__main__":
    main()
