"""Draw the targets of test clips in every way, and those of validation clips at every pair of guidance scales.

    gillnext edit_frames --config config.yaml --latents S/latents --data S/frames --clips S/clips \\
        --model S/pix2pix/20 --single S/pix2pix/1 --out S/edits

with S for results/demo/supplement.

Ways: `frames`, the model of all frames; `untold`, the same without the instruction; `repeated`, the same with the last
frame in the place of all; `one`, the model of the last frame; `last` and `mean`, the last frame and the mean of all, as
they are; `rebuilt`, the target through the autoencoder; `target` itself. OUT/test/WAY.npy are pictures (N, H, W, 3)
uint8, OUT/sweep/TEXT-IMAGE.npy those of validation clips; the noise of a clip is the same in all. A killed stage goes
on.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gillnext.config.arguments import add_config, add_out, config
from gillnext.config.model import Config
from gillnext.frames.latents import Latents
from gillnext.frames.loading import load
from gillnext.frames.pipeline import FramesPipeline
from gillnext.frames.rows import seen
from gillnext.runtime import contents, files, provenance, training
from gillnext.runtime.progress import Progress

DRAWN = ("frames", "untold", "repeated", "one")
SHOWN = ("last", "mean", "rebuilt", "target")
WAYS = (*DRAWN, *SHOWN)


class Drawing:
    """Draws the clips of a split with one model, `frames.drawing.batch` at a time."""

    def __init__(self, cfg: Config, pipeline: FramesPipeline, latents: Latents, split: str) -> None:
        self.settings, self.pipeline, self.latents, self.split = cfg.frames.drawing, pipeline, latents, split

    def __call__(
        self, text: float, image: float, told: bool = True, change: Callable[[Tensor], Tensor] = lambda x: x
    ) -> np.ndarray:
        """Pictures (N, H, W, 3) uint8; not `told` the instruction is empty, `change` is done to the frames' latents."""
        found, size = [], self.settings.batch
        for first in range(0, len(self.latents), size):
            clips = range(first, min(first + size, len(self.latents)))
            frames = torch.stack([self.latents.of(i, 0, self.pipeline.frames)[0] for i in clips])
            numbers = self.latents.number[first : clips.stop] if told else torch.full((len(clips),), -1)
            drawn = self.pipeline.draw(
                change(frames), self.latents.texts(numbers), self.latents.texts(torch.tensor([-1])),
                [(self.split, i) for i in clips], steps=self.settings.steps, text_guidance=text,
                image_guidance=image,
            )  # fmt: skip
            found.append(self.pipeline.pictures(drawn.cpu()))
        return np.concatenate(found)


def repeated(frames_NFChw: Tensor) -> Tensor:
    """The last frame in the place of every one."""
    return frames_NFChw[:, -1:].expand_as(frames_NFChw)


def name_of(text: float, image: float) -> str:
    """What a pair of guidance scales is called in the sweep."""
    return f"{text:g}-{image:g}"


def drawings(cfg: Config, latents: Path, model: Path, single: Path) -> dict[str, Callable[[], np.ndarray]]:
    """What makes each file of pictures that a model draws, by its name without `.npy`."""
    asked, test, val = cfg.frames.drawing, Latents(latents, "test"), Latents(latents, "val")
    many, one = (load(folder, words=False).to(cfg.run.device) for folder in (model, single))
    scales = asked.text_guidance, asked.image_guidance
    every, alone, sweep = (
        Drawing(cfg, pipeline, rows, split)
        for pipeline, rows, split in ((many, test, "test"), (one, test, "test"), (many, val, "val"))
    )
    found: dict[str, Callable[[], np.ndarray]] = {
        "test/frames": lambda: every(*scales),
        "test/untold": lambda: every(*scales, told=False),
        "test/repeated": lambda: every(*scales, change=repeated),
        "test/one": lambda: alone(*scales),
        "test/rebuilt": lambda: many.pictures(torch.stack([test.of(i, 0, 1)[1] for i in range(len(test))])),
    }
    for text, image in itertools.product(asked.text_scales, asked.image_scales):
        found[f"sweep/{name_of(text, image)}"] = functools.partial(sweep, text, image)
    return found


def run(cfg: Config, given: dict[str, Path], out: Path) -> None:
    """Draw all of it into the folder `out`; `given` are the folders latents, data, clips, model and single."""
    training.setup(cfg.run.threads, cfg.run.device)
    hashes = {name: contents.sha256(given[name]) for name in ("latents", "model", "single")}
    work = out.with_name(out.name + ".work")
    identity = provenance.fingerprint(vars(cfg.frames.drawing), hashes, cfg.run.device, code=["gillnext.frames.draw"])
    if not (work / "identity").exists() or (work / "identity").read_text() != identity:
        for old in work.rglob("*.npy"):
            old.unlink()
        files.write_text(work / "identity", identity)
    makers = drawings(cfg, given["latents"], given["model"], given["single"])
    with Progress("edits", len(makers), "sets") as progress:
        for name, make in makers.items():
            place = work / f"{name}.npy"
            if not place.exists():
                pixels = make()
                with files.atomic(place) as temporary, open(temporary, "wb") as data:
                    np.save(data, pixels, allow_pickle=False)
            progress.step()
    side = Latents(given["latents"], "test").about["side"]
    shown = seen(given["data"], given["clips"], "test", side)
    about: dict[str, Any] = {"scales": [cfg.frames.drawing.text_guidance, cfg.frames.drawing.image_guidance]}
    about |= {"steps": cfg.frames.drawing.steps, "hashes": hashes, "provenance": provenance.stamp()}
    with files.atomic(out) as temporary:
        for name in ("test", "sweep"):
            (temporary / name).mkdir(parents=True)
        for name in makers:
            files.link(work / f"{name}.npy", temporary / f"{name}.npy")
        for name in ("last", "mean", "target"):
            np.save(temporary / "test" / f"{name}.npy", shown[name], allow_pickle=False)
        files.write_json(temporary / "edits.json", about)
    shutil.rmtree(work)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    for name, what in (
        ("latents", "of `gillnext latents`"), ("data", "the dataset of `gillnext frames`"),
        ("clips", "the clips that it names"), ("model", "pipeline of all frames"), ("single", "that of the last"),
    ):  # fmt: skip
        parser.add_argument(f"--{name}", type=Path, required=True, metavar="DIR", help=what)
    add_out(parser, "folder of what is drawn")


def main(args: argparse.Namespace) -> None:
    given = {name: getattr(args, name) for name in ("latents", "data", "clips", "model", "single")}
    run(config(args), given, args.out)
