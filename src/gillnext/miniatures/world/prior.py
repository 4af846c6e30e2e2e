"""Boxes drawn from the world's prior, for the chance level of box fidelity.

    gillnext prior --config config.yaml --out results/demo/world/heldout/prior.safetensors

For each of the test layouts' places, and layouts of every number of boxes that a scene may have.
"""

from __future__ import annotations

import argparse

import numpy as np

from gillnext.config.arguments import add_config, add_out, config
from gillnext.miniatures.world.objects import DRAWN, Objects, of
from gillnext.miniatures.world.scenes import COUNT_SHARES
from gillnext.runtime import seeds
from gillnext.score.chance import REDRAWS, Prior


def boxes(seed: int, draw: int, index: int, count: int, objects: Objects = DRAWN) -> np.ndarray:
    """(count, 4) xyxy in [0, 1]; seeded by redraw and place alone."""
    rng = seeds.rng("redrawn", seed, draw, index)
    found = objects.boxes(rng, count)
    while len(found) < count:  # no room left: let the rest overlap
        found += objects.boxes(rng, 1)
    return np.asarray(found, dtype=np.float64).reshape(-1, 4)


def make(seed: int, images: int, redraws: int = REDRAWS, objects: Objects = DRAWN) -> Prior:
    """The prior for sets of up to `images` images."""
    most = len(COUNT_SHARES)
    found = np.zeros((redraws, images, most, most, 4))
    for draw, index, count in np.ndindex(redraws, images, most):
        found[draw, index, count, : count + 1] = boxes(seed, draw, index, count + 1, objects)
    return Prior(found)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    add_out(parser, "safetensors file of the boxes")


def main(args: argparse.Namespace) -> None:
    cfg = config(args)
    make(cfg.run.seed, cfg.sample.test, objects=of(cfg)).save(args.out)
