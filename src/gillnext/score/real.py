"""The ceilings of a release: what held-out pictures score, also through the autoencoder; the reference features.

    gillnext real --layouts R/split/named.jsonl --others R/split/reference.jsonl --base /models/Kolors-diffusers \\
        --evaluator … --second-evaluator … --prior … --features … --clip … --reference R/reference \\
        --out R/scores/ceilings

Writes the pictures of the test layouts at the size that they are drawn at (R/reference/real), the same through the
base's autoencoder (R/reference/vae), the features of other held-out pictures (R/reference/features.safetensors), and a
score file of each of the two sets. A picture and a batch at a time are in memory.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gillnext import layouts
from gillnext.adapter import buckets, encode
from gillnext.adapter.buckets import Frame
from gillnext.config import Config, arguments
from gillnext.layouts import Layout
from gillnext.runtime import files, training
from gillnext.runtime.errors import UserError
from gillnext.runtime.progress import track
from gillnext.score import fid_kid, images, stage
from gillnext.score.models import Scorers
from gillnext.score.rebuilt import autoencoder, rebuilt

SOURCE = "held-out pictures that no score is taken on"


class Frames:
    """The frames that the base in `folder` draws pictures in: its own square, or the bucket of their aspect ratio."""

    def __init__(self, folder: Path, size: str) -> None:
        unet, vae = (files.read_json(folder / part / "config.json") for part in ("unet", "vae"))
        factor = 2 ** (len(vae["block_out_channels"]) - 1)
        self.side, levels = unet["sample_size"] * factor, len(unet["block_out_channels"])
        self.among = buckets.of_base(unet["sample_size"], levels, factor) if size == "layout" else []

    def of(self, row: Layout) -> Frame:
        """The frame of a layout's picture."""
        return buckets.frame(encode.size_of(row), self.among) if self.among else buckets.square(self.side)


def in_frame(row: Layout, frame: Frame) -> Layout:
    """The layout with its boxes where the frame has them, without those that the crop takes."""
    names, boxes, _ = buckets.kept(frame, row.names, row.boxes, 0.0, len(row.boxes))
    return dataclasses.replace(row, names=tuple(names), boxes=tuple(boxes))


def make(
    config: Config, base: Path, test: Path, others: Path, models: Scorers, reference: Path, out: Path
) -> list[dict[str, Any]]:
    """Write `reference` and `out`/{real,vae}.json; returns the two reports."""
    training.setup(config.run.threads, config.run.device)
    rows, held_out, device = layouts.read(test), layouts.read(others), config.run.device
    for path, found in ((test, rows), (others, held_out)):
        if not found:
            raise UserError("no layouts in it", where=str(path), remedy="look at the counts of the split")
    frames = Frames(base, config.sample.size)

    def pictures(of: Sequence[Layout]) -> Iterator[np.ndarray]:
        return (encode.load_image(row, frames.of(row)) for row in track(of, "real", len(of), "images"))

    real = images.write(reference / "real", pictures(rows), [in_frame(row, frames.of(row)) for row in rows])
    again = (images.read_image(path) for path in real.paths)
    sets = {
        "real": real,
        "vae": images.write(reference / "vae", rebuilt(autoencoder(base / "vae", device), again), real.layouts),
    }
    apart = images.write(reference / "others", pictures(held_out), held_out)
    fid_kid.make_reference_of_files(
        reference / stage.REFERENCE, apart.paths, SOURCE, models.features, models.clip, models.hashes, device
    )
    return stage.score_ceilings(sets, models, reference, config, out)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.add_config(parser)
    parser.add_argument("--layouts", type=Path, required=True, metavar="JSONL", help="the test layouts, with pictures")
    parser.add_argument("--others", type=Path, required=True, metavar="JSONL", help="layouts of the reference pictures")
    parser.add_argument("--base", type=Path, required=True, metavar="DIR", help="base whose autoencoder and size count")
    stage.add_models(parser)
    parser.add_argument("--reference", type=Path, required=True, metavar="DIR", help="reference folder, written")
    arguments.add_out(parser, "folder of the two score files")


def main(args: argparse.Namespace) -> None:
    config = arguments.config(args)
    models = stage.all_scorers(args, config)
    stage.tell(make(config, args.base, args.layouts, args.others, models, args.reference, args.out))
