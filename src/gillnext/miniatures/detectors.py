"""How the annotator and the evaluator are trained and checked, on labelled scenes of a stream each.

Letters: B pictures, C channels, H rows, W columns.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gillnext.boxes import iou
from gillnext.config import Config
from gillnext.config.miniatures import Detector as Settings
from gillnext.miniatures.networks.small_detector import SmallDetector
from gillnext.miniatures.supervision import split
from gillnext.miniatures.world.corpus import Corpus, make
from gillnext.miniatures.world.objects import of
from gillnext.runtime import files, seeds, training

HELD_OUT = 128  # scenes after the training corpus, for the scores in training.json

Augment = Callable[[np.ndarray, np.random.Generator], Tensor]


def train(
    model: SmallDetector, corpus: Corpus, settings: Settings, augment: Augment, name: str, seed: int, work: Path
) -> list[float]:
    """Train on a labelled corpus; the batch and the noise of a step depend on (name, seed, step) alone."""
    boxes = [scene.boxes for scene in corpus.scenes]
    labels = [[thing.kind.id for thing in scene.objects] for scene in corpus.scenes]
    device = next(model.parameters()).device
    model.train()

    def loss_at(step: int) -> Tensor:
        rng = seeds.rng(name, "batch", seed, step)
        chosen = rng.choice(len(boxes), settings.batch, replace=settings.batch > len(boxes))
        images_BCHW = augment(corpus.images[chosen], rng).to(device)
        with torch.random.fork_rng(devices=[]):  # torchvision samples proposals from the global generator
            torch.manual_seed(seeds.key(name, "proposals", seed, step) % 2**32)
            return model.losses(images_BCHW, [boxes[i] for i in chosen], [labels[i] for i in chosen])

    depends = [model.settings, dataclasses.asdict(settings), seed]
    return training.train(
        name, list(model.parameters()), loss_at, steps=settings.steps, lr=settings.lr, work=work, settings=depends
    )


def validate(model: SmallDetector, corpus: Corpus, batch: int = 32) -> dict[str, float]:
    """Mean IoU and success@0.5 of each true object's best detection of its class; a missing one counts 0."""
    values = []
    for scene, found in zip(corpus.scenes, model.detect(corpus.images, batch), strict=True):
        for thing in scene.objects:
            best = found.best(thing.kind.id)
            values.append(float(iou(best[0], np.asarray(thing.box))[0, 0]) if best else 0.0)
    scores = np.asarray(values)
    return {"n": len(scores), "miou": float(scores.mean()), "success50": float((scores >= 0.5).mean())}


def fit(
    name: str, network: Callable[..., SmallDetector], config: Config, settings: Settings, augment: Augment, out: Path
) -> dict[str, float]:
    """Build, train and save the detector `name` into the folder `out`, on the stream of its name; returns its scores on
    held-out scenes of it. `network` takes the classes' names, a picture's side and its channels; `settings` are the
    detector's own in `config`.
    """
    training.setup(config.run.threads, config.run.device)
    torch.manual_seed(seeds.key(name, config.run.seed) % 2**32)
    objects = of(config)
    model = network(objects.names, objects.size, 64).to(config.run.device)
    learn, held_out = split(make(config.run.seed, name, settings.corpus + HELD_OUT, objects), settings.corpus)
    work = out.with_name(out.name + ".work")
    losses = train(model, learn, settings, augment, name, config.run.seed, work)
    scores = validate(model, held_out)
    with files.atomic(out) as temporary:
        model.save_pretrained(temporary)
        files.write_json(temporary / "training.json", {"held_out": scores, "last_loss": losses[-1] if losses else 0.0})
    shutil.rmtree(work, ignore_errors=True)
    return scores
