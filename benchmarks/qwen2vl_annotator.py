"""How far a miniature Qwen2-VL gets as the demo's annotator in a few minutes: why the demo uses a detector.

Trains a small Qwen2-VL on the annotator's own stream for a number of minutes, then annotates
held-out scenes through the same path as a real checkpoint. The bar for the demo is mean IoU 0.80 and recall 0.90.

    python benchmarks/qwen2vl_annotator.py --minutes 4
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np
import torch
from PIL import Image

from gillnext.annotate.families import qwen2_vl
from gillnext.annotate.vlm import VisionLanguageAnnotator
from gillnext.boxes import iou
from gillnext.miniatures.networks import small_qwen2_vl
from gillnext.miniatures.world import corpus
from gillnext.miniatures.world.scenes import Scene
from gillnext.runtime import seeds, training

SEED = 20260


def answer(scene: Scene, caption: str) -> str:
    """The answer that the real model would write, objects in the caption's order."""
    things = sorted(scene.objects, key=lambda thing: caption.index(thing.kind.name))
    parts = []
    for thing in things:
        x1, y1, x2, y2 = (min(round(v * 1000), 1000) for v in thing.box)
        name = f"<|object_ref_start|>{thing.kind.name}<|object_ref_end|>"
        parts.append(f"{name}<|box_start|>({x1},{y1}),({x2},{y2})<|box_end|>")
    return "".join(parts) + "<|im_end|>"


def batch_of(annotator: VisionLanguageAnnotator, data: corpus.Corpus, chosen: np.ndarray) -> dict[str, Any]:
    """Model inputs with labels on the answers alone."""
    prompts = [annotator.prompt(data.captions[i], None) for i in chosen]
    answers = [answer(data.scenes[i], data.captions[i]) for i in chosen]
    images = [Image.fromarray(data.images[i]) for i in chosen]
    texts = [p + a for p, a in zip(prompts, answers, strict=True)]
    inputs = dict(annotator.processor(text=texts, images=images, padding=True, return_tensors="pt"))
    labels = torch.full_like(inputs["input_ids"], -100)
    for row, ids, said in zip(labels, inputs["input_ids"], answers, strict=True):
        count = len(annotator.processor.tokenizer(said)["input_ids"])
        row[-count:] = ids[-count:]
    return {**inputs, "labels": labels}


def train(annotator: VisionLanguageAnnotator, data: corpus.Corpus, minutes: float, batch: int, lr: float) -> int:
    """AdamW until the time is up, the learning rate falling with it; returns the steps made."""
    model = annotator.model.train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=lr)
    began, step, spent = time.monotonic(), 0, 0.0
    while spent < 1:
        inputs = batch_of(annotator, data, seeds.rng("qwen2vl", step).choice(len(data.scenes), batch, replace=False))
        optimiser.param_groups[0]["lr"] = training.cosine(int(spent * 10_000), 10_000, lr)
        loss = model(**inputs).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        step, spent = step + 1, (time.monotonic() - began) / (60 * minutes)
    print(f"last loss {loss.item():.3f}")
    model.eval()
    return step


def score(annotator: VisionLanguageAnnotator, data: corpus.Corpus) -> dict[str, float]:
    """Recall (a box of the name, whatever its place) and mean IoU of the recalled objects, as for the detector."""
    images = [Image.fromarray(image) for image in data.images]
    found = annotator.annotate(images, data.captions, [None] * len(images))
    values, recalled = [], []
    for scene, answers in zip(data.scenes, found, strict=True):
        for thing in scene.objects:
            boxes = [f.box for f in answers if f.box and f.name == thing.kind.name]
            recalled.append(bool(boxes))
            if boxes:
                values.append(iou(np.array(boxes[:1]), np.array(thing.box))[0, 0])
    return {
        "objects": len(recalled),
        "recall": float(np.mean(recalled)),
        "miou": float(np.mean(values)) if values else 0.0,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=4)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--width", type=int, default=96)
    args = parser.parse_args()
    training.setup(1)
    data = corpus.make(SEED, "annotator", 3000)
    torch.manual_seed(0)
    texts = [answer(s, c) for s, c in zip(data.scenes, data.captions, strict=True)]
    processor = small_qwen2_vl.make_processor([*data.captions, *texts, qwen2_vl.question("", None)], size=112)
    processor.tokenizer.padding_side = "left"
    annotator = VisionLanguageAnnotator(
        small_qwen2_vl.make_model(processor, args.width, 3), processor, qwen2_vl, 1024, 160
    )
    steps = train(annotator, data, args.minutes, args.batch, args.lr)
    result = {"minutes": args.minutes, "steps": steps, **score(annotator, corpus.make(SEED, "val", 64))}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
