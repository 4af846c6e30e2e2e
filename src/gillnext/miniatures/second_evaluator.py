"""The second evaluator of a world without templates: trained as the first is, on a stream of its own, and wider.

A check of the first one's training, and no more: both are FCOS, so that they may share mistakes of their family. The
drawn world's learns nothing (`templates.py`); one of another family can be given as models.second_evaluator.

    gillnext second_evaluator --config config.yaml --out results/foundations-photos/models/second_evaluator
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from gillnext.config import Config, arguments
from gillnext.miniatures import detectors
from gillnext.miniatures.evaluator import AUGMENT
from gillnext.miniatures.networks.fcos import Evaluator

WIDER = 1.5  # its channels, in the first one's


def wider(classes: list[str], size: int, width: int) -> Evaluator:
    """An untrained evaluator with more channels."""
    return Evaluator(classes, size, round(width * WIDER))


def train(config: Config, out: Path) -> dict[str, float]:
    """Train the evaluator into the folder `out`; returns its scores on held-out scenes of its stream."""
    return detectors.fit("second-evaluator", wider, config, config.evaluator, AUGMENT, out)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--config and --out."""
    arguments.add_config(parser)
    arguments.add_out(parser, "folder of the evaluator: config.json, model.safetensors, training.json")


def main(args: argparse.Namespace) -> None:
    scores = train(arguments.config(args), args.out)
    print(
        f"second evaluator: held-out mIoU {scores['miou']:.3f}, success@0.5 {scores['success50']:.3f}", file=sys.stderr
    )
