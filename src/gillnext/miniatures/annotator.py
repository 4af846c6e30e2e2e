"""Train the demo's annotator on a stream of its own, on pictures that went through JPEG as downloaded ones did.

gillnext annotator --config config.yaml --out results/demo/models/annotator
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

from gillnext.config import Config, arguments
from gillnext.miniatures import degrade, detectors
from gillnext.miniatures.networks.faster_rcnn import AnnotatorNetwork


def train(config: Config, out: Path) -> dict[str, float]:
    """Train the annotator into the folder `out`; returns its scores on held-out scenes of its stream."""
    augment = partial(degrade.degrade, jpegs=0.7, blurs=0.0, noisy=False)
    return detectors.fit("annotator", AnnotatorNetwork, config, config.annotator, augment, out)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--config and --out."""
    arguments.add_config(parser)
    arguments.add_out(parser, "folder of the annotator: config.json, model.safetensors, training.json")


def main(args: argparse.Namespace) -> None:
    scores = train(arguments.config(args), args.out)
    print(f"annotator: held-out mIoU {scores['miou']:.3f}, success@0.5 {scores['success50']:.3f}", file=sys.stderr)
