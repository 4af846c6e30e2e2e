"""The ceilings: what real images, and real images through the autoencoder, score; and the reference features.

No sample can be expected above them: the first is the evaluator's own limit, the second the autoencoder's.

    gillnext ceilings --layouts R/world/heldout/test.jsonl --vae R/models/vae --evaluator R/models/evaluator \\
        --second-evaluator R/models/templates --prior R/world/heldout/prior.safetensors \\
        --features R/models/features --clip R/models/clip --reference R/reference --out R/scores/ceilings

Writes the real images of the test layouts (R/reference/real), the same through the autoencoder (R/reference/vae), the
features of real images of another stream (R/reference/features.safetensors), and a score file of each of the two sets.
The images of the other stream too (R/reference/others), where a second network is to see them (`gillnext distance`).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gillnext import layouts
from gillnext.config import Config, arguments
from gillnext.layouts import Layout
from gillnext.miniatures.world.objects import DRAWN, Objects, of
from gillnext.runtime import training
from gillnext.runtime.errors import UserError
from gillnext.score import fid_kid, images, stage
from gillnext.score.images import BATCH
from gillnext.score.rebuilt import autoencoder, rebuilt
from gillnext.score.stage import Scorers

STREAM = "test"
REFERENCE_STREAM = "fidreference"  # nothing was trained on it


def render(rows: Sequence[Layout], seed: int, where: str, objects: Objects = DRAWN) -> list[np.ndarray]:
    """The real images, each (H, W, 3) uint8, of the test layouts; raises `UserError` where a layout is not its
    scene's.
    """
    pictures = []
    for i, layout in enumerate(rows):
        scene = objects.sample(seed, STREAM, i)
        same = sorted(layout.names) == sorted(scene.names)
        if not same or not np.allclose(sorted(layout.boxes), sorted(o.box for o in scene.objects), atol=1e-4):
            raise UserError(
                f"is not scene {i} of the stream {STREAM!r} at run.seed {seed}",
                where=f"{where}, line {i + 1}",
                remedy="make the world and its held-out layouts again with this config",
            )
        pictures.append(objects.render(scene))
    return pictures


def make(config: Config, vae: Path, test: Path, models: Scorers, reference: Path, out: Path) -> list[dict[str, Any]]:
    """Write `reference`/{real,vae}, the reference features, and `out`/{real,vae}.json; returns the two
    reports.
    """
    training.setup(config.run.threads, config.run.device)
    rows, device, seed = layouts.read(test), config.run.device, config.run.seed
    objects = of(config)
    real = render(rows, seed, str(test), objects)
    sets: dict[str, Iterable[np.ndarray]] = {"real": real, "vae": rebuilt(autoencoder(vae, device), real, BATCH)}
    count = max(config.sample.test, len(rows))
    others = np.stack([objects.render(objects.sample(seed, REFERENCE_STREAM, i)) for i in range(count)])
    path = reference / stage.REFERENCE
    fid_kid.make_reference(path, others, REFERENCE_STREAM, models.features, models.clip, models.hashes, device)
    if config.score.second_features != "none":
        images.write(reference / "others", others, [Layout(REFERENCE_STREAM, (), ())] * count)
    written = {name: images.write(reference / name, pictures, rows) for name, pictures in sets.items()}
    return stage.score_ceilings(written, models, reference, config, out)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.add_config(parser)
    parser.add_argument("--layouts", type=Path, required=True, metavar="JSONL", help="the test layouts")
    parser.add_argument("--vae", type=Path, required=True, metavar="DIR", help="autoencoder")
    stage.add_models(parser)
    parser.add_argument("--reference", type=Path, required=True, metavar="DIR", help="reference folder, written")
    arguments.add_out(parser, "folder of the two score files")


def main(args: argparse.Namespace) -> None:
    config = arguments.config(args)
    models = stage.all_scorers(args, config)
    stage.tell(make(config, args.vae, args.layouts, models, args.reference, args.out))
