"""The box evaluator: FCOS (anchor-free, one stage) on scenes of a stream of its own.

Tian et al. 2019, "FCOS: Fully Convolutional One-Stage Object Detection", as torchvision implements it, with a small
convolutional backbone. It is trained on degraded pictures too, because it judges generated ones, and it is of
another family than the annotator, whose boxes train the adapter.

    gillnext evaluator --config config.yaml --out results/demo/models/evaluator
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

from gillnext.config import Config, arguments
from gillnext.miniatures import degrade, detectors
from gillnext.miniatures.networks.fcos import Evaluator

AUGMENT = partial(degrade.degrade, jpegs=0.3, blurs=0.4, noisy=True)  # what its pictures suffer while it learns


def train(config: Config, out: Path) -> dict[str, float]:
    """Train the evaluator into the folder `out`; returns its scores on held-out scenes of its stream."""
    return detectors.fit("evaluator", Evaluator, config, config.evaluator, AUGMENT, out)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--config and --out."""
    arguments.add_config(parser)
    arguments.add_out(parser, "folder of the evaluator: config.json, model.safetensors, training.json")


def main(args: argparse.Namespace) -> None:
    scores = train(arguments.config(args), args.out)
    print(f"evaluator: held-out mIoU {scores['miou']:.3f}, success@0.5 {scores['success50']:.3f}", file=sys.stderr)
