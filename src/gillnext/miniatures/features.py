"""Image features for FID and KID: a small classifier trained on a stream of its own.

It learns which classes a picture holds and how many objects; the pooled features before its two heads are what
distributions are compared in. They are independent of the base, the evaluator and the image-text scorer, and
distances in them compare with no published FID.

    gillnext features --config config.yaml --out results/demo/models/features
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import sys
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from gillnext.config import Config, arguments
from gillnext.miniatures import degrade
from gillnext.miniatures.networks.features import FeatureNetwork, pooled
from gillnext.miniatures.supervision import box_class_maps, split
from gillnext.miniatures.world import corpus
from gillnext.miniatures.world.corpus import Corpus
from gillnext.miniatures.world.objects import DRAWN, of
from gillnext.miniatures.world.scenes import COUNT_SHARES
from gillnext.runtime import files, seeds, training

CELLS = 8  # rows and columns of the feature grid
HELD_OUT = 256  # scenes after the training corpus, for the scores in training.json

# Letters of shapes: B pictures, C channels, H rows, W columns, D features, K classes.


def targets(data: Corpus, kinds: int = len(DRAWN.kinds)) -> tuple[Tensor, Tensor]:
    """Which classes each scene holds, (N, K) of 0 and 1, and its number of objects less one, (N,)."""
    which = torch.zeros(len(data.scenes), kinds)
    for row, scene in zip(which, data.scenes, strict=True):
        row[[thing.kind.id for thing in scene.objects]] = 1
    return which, torch.tensor([len(scene.objects) - 1 for scene in data.scenes])


def loss(model: FeatureNetwork, grid_BDHW: Tensor, which_BK: Tensor, count_B: Tensor, cells_BHW: Tensor) -> Tensor:
    """Class set and count from the pooled features, and what stands in each cell, which makes learning quick."""
    device, features_BD = grid_BDHW.device, pooled(grid_BDHW)
    which = F.binary_cross_entropy_with_logits(model.which(features_BD), which_BK.to(device))
    count = F.cross_entropy(model.count(features_BD), count_B.to(device))
    return 4 * which + count + F.cross_entropy(model.cell(grid_BDHW), cells_BHW.to(device))


@torch.inference_mode()
def validate(model: FeatureNetwork, data: Corpus) -> dict[str, float]:
    """Share of scenes whose set of classes, and whose count, is right."""
    features_BD = torch.from_numpy(model.features(data.images)).to(next(model.parameters()).device)
    told_BK = model.which(features_BD).cpu() > 0
    which_BK, count_B = targets(data, told_BK.shape[1])
    sets = (told_BK == which_BK.bool()).all(1).double().mean()
    counts = (model.count(features_BD).argmax(1).cpu() == count_B).double().mean()
    return {"n": len(data.scenes), "class_sets": float(sets), "counts": float(counts)}


def train(config: Config, out: Path) -> dict[str, float]:
    """Train the feature network into the folder `out`; returns its scores on held-out scenes of its stream."""
    training.setup(config.run.threads, config.run.device)
    settings, seed, objects = config.features, config.run.seed, of(config)
    torch.manual_seed(seeds.key("features", seed) % 2**32)
    model = FeatureNetwork(len(objects.kinds), len(COUNT_SHARES)).to(config.run.device).train()
    learn, held_out = split(corpus.make(seed, "features", settings.corpus + HELD_OUT, objects), settings.corpus)
    which_NK, count_N = targets(learn, len(objects.kinds))
    cells_NHW = box_class_maps(learn, CELLS)

    def loss_at(step: int) -> Tensor:
        rng = seeds.rng("features", "batch", seed, step)
        chosen = rng.choice(len(which_NK), settings.batch, replace=settings.batch > len(which_NK))
        images_BCHW = degrade.degrade(learn.images[chosen], rng, jpegs=0.1, blurs=0.1, noisy=True)
        grid_BDHW = model.grid(images_BCHW.to(config.run.device) * 255)
        return loss(model, grid_BDHW, which_NK[chosen], count_N[chosen], cells_NHW[chosen])

    work = out.with_name(out.name + ".work")
    training.train(
        "features", list(model.parameters()), loss_at, steps=settings.steps, lr=settings.lr, work=work,
        settings=[dataclasses.asdict(settings), seed],
    )  # fmt: skip
    scores = validate(model, held_out)
    with files.atomic(out) as temporary:
        model.save_pretrained(temporary)
        files.write_json(temporary / "training.json", {"held_out": scores})
    shutil.rmtree(work, ignore_errors=True)
    return scores


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--config and --out."""
    arguments.add_config(parser)
    arguments.add_out(parser, "folder of the feature network: config.json, model.safetensors, training.json")


def main(args: argparse.Namespace) -> None:
    scores = train(arguments.config(args), args.out)
    accuracies = f"class sets {scores['class_sets']:.3f}, counts {scores['counts']:.3f}"
    print(f"features: held-out accuracy of {accuracies}", file=sys.stderr)
