"""The box evaluator: FCOS (anchor-free, one stage) on scenes of a stream of its own.

Tian et al. 2019, "FCOS: Fully Convolutional One-Stage Object Detection", as torchvision implements it, with a small
convolutional backbone. It is trained on degraded pictures too, because it judges generated ones, and it is of
another family than the annotator, whose boxes train the adapter.

    gillnext evaluator --config config.yaml --out results/demo/models/evaluator
"""

from __future__ import annotations

import argparse
import shutil
import sys
from functools import partial
from pathlib import Path

import torch

from gillnext.config import Config, arguments
from gillnext.miniatures import degrade, detectors
from gillnext.miniatures.networks.fcos import Evaluator
from gillnext.miniatures.supervision import split
from gillnext.miniatures.world import corpus
from gillnext.miniatures.world.classes import CLASSES
from gillnext.miniatures.world.scenes import SIZE
from gillnext.runtime import files, seeds, training

HELD_OUT = 128  # scenes after the training corpus, for the scores in training.json


def train(config: Config, out: Path) -> dict[str, float]:
    """Train the evaluator into the folder `out`; returns its scores on held-out scenes of its stream."""
    training.setup(config.run.threads, config.run.device)
    settings, seed = config.evaluator, config.run.seed
    torch.manual_seed(seeds.key("evaluator", seed) % 2**32)
    model = Evaluator([c.name for c in CLASSES], SIZE, 64)
    model.to(config.run.device)
    whole = corpus.make(seed, "evaluator", settings.corpus + HELD_OUT)
    learn, held_out = split(whole, settings.corpus)
    augment = partial(degrade.degrade, jpegs=0.3, blurs=0.4, noisy=True)
    work = out.with_name(out.name + ".work")
    losses = detectors.train(model, learn, settings, augment, "evaluator", seed, work)
    scores = detectors.validate(model, held_out)
    with files.atomic(out) as temporary:
        model.save_pretrained(temporary)
        files.write_json(temporary / "training.json", {"held_out": scores, "last_loss": losses[-1] if losses else 0.0})
    shutil.rmtree(work, ignore_errors=True)
    return scores


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--config and --out."""
    arguments.add_config(parser)
    arguments.add_out(parser, "folder of the evaluator: config.json, model.safetensors, training.json")


def main(args: argparse.Namespace) -> None:
    scores = train(arguments.config(args), args.out)
    print(f"evaluator: held-out mIoU {scores['miou']:.3f}, success@0.5 {scores['success50']:.3f}", file=sys.stderr)
