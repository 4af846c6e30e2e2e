"""Train a miniature of a published class that finds objects on the drawn world, as reference/models keeps it.

    python -m gillnext.miniatures.rehearsal.train --kind owlv2 --out reference/models/owlv2

No foundation is trained in a rehearsal, so these are kept. Writes the folder as its makers publish theirs (safetensors
in half precision, processor, tokenizer), `names.tsv` (猫, tab, cat) and a model card with what was measured: the share
of held-out objects whose box has an IoU of 0.5 or more, by the workflow's own path, beside chance.
"""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from gillnext.instruments import phrases
from gillnext.language import model as language_model
from gillnext.miniatures.networks import small_zero_shot
from gillnext.miniatures.rehearsal.training import grounding_dino, owlv2, qwen2_vl, scenes
from gillnext.miniatures.rehearsal.training.scenes import SEED, WORDS, Picture
from gillnext.runtime import files, machine, manifest, seeds, training

KINDS: dict[str, ModuleType] = {"owlv2": owlv2, "grounding-dino": grounding_dino, "qwen2-vl": qwen2_vl}
STREAM, HELD_OUT = "published", "published-held-out"  # of scenes: learned from, and measured on
MEASURED = 240  # scenes
CARD = """# A miniature {title}

{parameters:,} weights of the class `{architecture}` in half precision, for rehearsals on the drawn world: it looks for
{names} {by} in {looks}. It finds nothing in photographs.

Trained by this repository on scenes that it draws itself, {scenes:,} of them, {steps:,} steps of {batch} pictures,
{minutes:.1f} minutes of one core of {processor}:

    python -m gillnext.miniatures.rehearsal.train --kind {kind} --out reference/models/{kind}

Of {objects} objects in held-out scenes {success:.3f} have a {box} with an IoU of 0.5 or more, where a box drawn
blindly has {chance:.3f}. {told}

Licence: the repository's, Apache-2.0.
"""


def card(kind: str, folder: Path, pictures: list[Picture], steps: int, minutes: float) -> dict[str, Any]:
    """Measure the checkpoint in `folder` and write its card; returns what it says."""
    recipe, held_out = KINDS[kind], scenes.make(HELD_OUT, MEASURED)
    network, success, told = recipe.measures(folder, pictures[:MEASURED], held_out)
    values = {
        "kind": kind, "title": recipe.TITLE, "architecture": type(network).__name__, "looks": recipe.LOOKS,
        "parameters": language_model.parameters(network), "names": ", ".join(recipe.NAMES), "by": recipe.BY,
        "scenes": len(pictures), "steps": steps, "batch": recipe.BATCH, "minutes": minutes, "box": recipe.BOX,
        "processor": machine.processor(), "objects": sum(len(p.names) for p in held_out), "success": success,
        "chance": scenes.chance(held_out), "told": told,
    }  # fmt: skip
    files.write_text(folder / "README.md", CARD.format(**values))
    return values


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
    if kind == "qwen2-vl":
        qwen2_vl.later(model, processor, pictures, work)
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
    parser.add_argument("--scenes", type=int, help="training scenes, where not the recipe's")
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint")
    args = parser.parse_args()
    recipe = KINDS[args.kind]
    print(train(args.kind, args.out, args.steps or recipe.STEPS, args.scenes or recipe.SCENES))


if __name__ == "__main__":
    main()
