"""Train a miniature of a published detector class on the drawn world, as reference/models keeps it.

    python -m gillnext.miniatures.rehearsal.train --kind owlv2 --out reference/models/owlv2

No foundation is trained in a rehearsal, so these are kept. Writes the folder as its makers publish theirs (safetensors
in half precision, processor, tokenizer), `names.tsv` (猫, tab, cat) and a model card with what was measured: the share
of held-out objects whose likeliest box has an IoU of 0.5 or more, by the evaluators' own path, beside chance.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from PIL import Image

from gillnext.boxes import iou
from gillnext.config.data import ZeroShot
from gillnext.instruments import open_vocabulary, phrases, zero_shot
from gillnext.language import model as language_model
from gillnext.miniatures.networks import small_zero_shot
from gillnext.miniatures.rehearsal.training import grounding_dino, owlv2, scenes
from gillnext.miniatures.rehearsal.training.scenes import SEED, WORDS, Picture
from gillnext.runtime import files, machine, manifest, seeds, training

View = Callable[[Picture], Image.Image]  # a picture as a detector is meant to get it
KINDS: dict[str, ModuleType] = {"owlv2": owlv2, "grounding-dino": grounding_dino}
STREAM, HELD_OUT = "published", "published-held-out"  # of scenes: learned from, and measured on
MEASURED = 240  # scenes
LOW = ZeroShot(least=0.02)  # under which the likeliest box of nearly every name is seen
TEXTS = (0.15, 0.25, 0.35, 0.45)  # of which the best on training scenes is taken: Grounding DINO's threshold of tokens
SHARE = 0.1  # of the likeliest right boxes, those whose scores are left below the threshold
CARD = """# A miniature {title}

{parameters:,} weights of the class `{architecture}` in half precision, for rehearsals on the drawn world: it looks for
{names} by their English names (`names.tsv`) in {looks}. It finds nothing in photographs.

Trained by this repository on scenes that it draws itself, {scenes:,} of them, {steps:,} steps of {batch} pictures,
{minutes:.1f} minutes of one core of {processor}:

    python -m gillnext.miniatures.rehearsal.train --kind {kind} --out reference/models/{kind}

Of {objects} objects in held-out scenes {success:.3f} have a likeliest box with an IoU of 0.5 or more, where a box drawn
blindly has {chance:.3f}. Thresholds, chosen on training scenes: a token's score {text:g} (`zero_shot.text`, Grounding
DINO alone), a box's {confident:g}, which nine in ten of the likeliest right boxes reach.

Licence: the repository's, Apache-2.0.
"""


def measured(detector: zero_shot.ZeroShotDetector, pictures: list[Picture], view: View) -> tuple[float, np.ndarray]:
    """Share of objects whose likeliest box is right, and the scores of the right ones."""
    evaluator = open_vocabulary.ZeroShotEvaluator(detector, WORDS)
    found = evaluator.detect_named([np.asarray(view(p)) for p in pictures], [p.names for p in pictures], 16)
    right = []
    for picture, one in zip(pictures, found, strict=True):
        for name, box in zip(picture.names, picture.boxes, strict=True):
            best = one.best(evaluator.labels[name])
            if best is not None and iou(box[None], best[0])[0, 0] >= 0.5:
                right.append(best[1])
    return len(right) / sum(len(p.names) for p in pictures), np.array(right)


def calibrated(folder: Path, pictures: list[Picture], view: View) -> tuple[ZeroShot, float]:
    """The thresholds with which most objects are found, and the score that most of their boxes reach."""
    tried = {}
    for text in TEXTS:
        settings = dataclasses.replace(LOW, text=text)
        tried[settings] = measured(zero_shot.load(folder, settings), pictures, view)
    best = max(tried, key=lambda settings: tried[settings][0])
    return best, float(np.quantile(tried[best][1], SHARE)) if len(tried[best][1]) else 0.0


def card(kind: str, folder: Path, pictures: list[Picture], steps: int, minutes: float) -> dict[str, Any]:
    """Measure the checkpoint in `folder` and write its card; returns what it says."""
    recipe, held_out = KINDS[kind], scenes.make(HELD_OUT, MEASURED)
    settings, confident = calibrated(folder, pictures[:MEASURED], recipe.view)
    detector = zero_shot.load(folder, settings)
    success, _ = measured(detector, held_out, recipe.view)
    told = {
        "kind": kind, "title": recipe.TITLE, "architecture": type(detector.network).__name__, "looks": recipe.LOOKS,
        "parameters": language_model.parameters(detector.network), "names": ", ".join(WORDS.values()),
        "scenes": len(pictures), "steps": steps, "batch": recipe.BATCH, "minutes": minutes,
        "processor": machine.processor(), "objects": sum(len(p.names) for p in held_out), "success": success,
        "chance": scenes.chance(held_out), "text": settings.text, "confident": round(confident, 2),
    }  # fmt: skip
    files.write_text(folder / "README.md", CARD.format(**told))
    return told


def train(kind: str, out: Path, steps: int, count: int) -> dict[str, Any]:
    """Train on `count` scenes, write the checkpoint, and return what its card says."""
    recipe = KINDS[kind]
    training.setup(1)
    torch.manual_seed(seeds.key("weights", kind, SEED))
    pictures, began = scenes.make(STREAM, count), time.process_time()
    model, processor = recipe.make()
    losses = recipe.losses(model.train(), processor, pictures)
    work = out.with_name(f".{out.name}.work")  # a killed training goes on
    parameters = list(model.parameters())
    training.train(kind, parameters, losses, steps=steps, lr=recipe.LR, work=work, settings=[count, SEED])
    minutes = (time.process_time() - began) / 60
    with files.atomic(out) as folder:
        small_zero_shot.save((model.half(), processor), folder)
        phrases.write(folder / "names.tsv", WORDS)
        told = card(kind, folder, pictures, steps, minutes)
        manifest.write(folder, {"kind": kind})
    shutil.rmtree(work, ignore_errors=True)
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", required=True, choices=KINDS)
    parser.add_argument("--steps", type=int, help="optimiser steps, where not the recipe's")
    parser.add_argument("--scenes", type=int, default=1_500, help="training scenes")
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint")
    args = parser.parse_args()
    print(train(args.kind, args.out, args.steps or KINDS[args.kind].STEPS, args.scenes))


if __name__ == "__main__":
    main()
