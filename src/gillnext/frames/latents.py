"""Encode the frames and targets of all clips, and their instructions, once, for every training and every drawing.

    gillnext latents --config config.yaml --data results/demo/supplement/frames --clips results/demo/supplement/clips \\
        --base reference/models/base --out results/demo/supplement/latents

A training clip has `frames.variants` versions, each augmented in its own way, all of its pictures alike; those of
validation and test are plain. Written are shards SPLIT-NUMBER.safetensors: `frames` (N, V, F, C, h, w), as the encoder
gives them, and `target` (N, V, C, h, w), scaled; `texts.safetensors` with the states of the different instructions, the
empty one last, and each clip's number of its own; and latents.json. A killed stage goes on at the first shard that is
not there.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from gillnext.config.arguments import add_config, add_out, config
from gillnext.config.model import Config
from gillnext.frames import augment, rows, text
from gillnext.frames.augment import Augmentation
from gillnext.frames.loading import load as load_pipeline
from gillnext.frames.pipeline import FramesPipeline, modes, scale
from gillnext.runtime import arithmetic, contents, files, provenance, training
from gillnext.runtime.errors import UserError
from gillnext.runtime.progress import Progress

SHARD = 64  # clips
ABOUT, TEXTS = "latents.json", "texts.safetensors"


def encode_clip(
    pipeline: FramesPipeline, images: list[Image.Image], versions: list[Augmentation]
) -> tuple[Tensor, Tensor]:
    """Frames (V, F, C, h, w), not scaled, and target (V, C, h, w), scaled, of a clip in each version."""
    found = torch.stack([modes(pipeline.vae, version(images, pipeline.side)) for version in versions])
    return found[:, :-1].contiguous(), scale(pipeline.vae, found[:, -1]).contiguous()


def versions_of(cfg: Config, split: str, name: str) -> list[Augmentation]:
    """What is done to a clip of a split: nothing, but to those of training."""
    if split != "train":
        return [Augmentation()]
    count, crop, flip = max(cfg.frames.variants, 1), cfg.frames.crop, cfg.frames.flip
    return [augment.draw(crop, flip, cfg.run.seed, name, k) for k in range(count)]


def _split(cfg: Config, pipeline: FramesPipeline, found: Any, folder: Path, split: str, work: Path) -> None:
    """Write the shards of a split that are not there yet."""
    with Progress(f"latents, {split}", len(found), "clips") as progress:
        for first in range(0, len(found), SHARD):
            count = min(SHARD, len(found) - first)
            place = work / f"{split}-{first // SHARD:05d}.safetensors"
            if not place.exists():
                parts = []
                for i in range(first, first + count):
                    row = found[i]
                    versions = versions_of(cfg, split, row["input_frames"][-1])
                    parts.append(encode_clip(pipeline, rows.pictures(row, folder), versions))
                frames, target = (torch.stack(part) for part in zip(*parts, strict=True))
                stacked = {"frames": frames, "target": target}
                with files.atomic(place) as temporary:
                    save_file(stacked, temporary)
            progress.step(count)


def _texts(pipeline: FramesPipeline, by_split: dict[str, list[str]]) -> tuple[dict[str, Tensor], text.Heard]:
    """States of the different instructions, the empty one last, and each clip's number of its own; and what is to be
    told of them. `UserError` where the text encoder can read less than half of them.
    """
    every = [one for texts in by_split.values() for one in texts]
    different = list(dict.fromkeys(every))
    known = text.heard(pipeline.tokenizer, different)
    if 2 * known.unread > len(different):
        where, remedy = "instructions", "a base whose text encoder reads the language of the instructions"
        raise UserError(known.told()[-1], where=where, remedy=remedy)
    number = {one: i for i, one in enumerate(different)}
    states, pooled = pipeline.encode([*different, ""])
    found = {f"number.{split}": torch.tensor([number[one] for one in texts]) for split, texts in by_split.items()}
    found |= {"states": states.contiguous()} | ({} if pooled is None else {"pooled": pooled.contiguous()})
    return found, known


@torch.no_grad()
def build(cfg: Config, data: Path, folder: Path, base: Path, out: Path) -> dict[str, Any]:
    """Encode the dataset `data`, whose frames lie in `folder`, by `base`; returns what latents.json holds."""
    training.setup(cfg.run.threads, cfg.run.device)
    splits = rows.load(data)
    pipeline = load_pipeline(base)
    pipeline.vae.to(cfg.run.device)
    pipeline.text_encoder.to(cfg.run.device)
    hashes = {"data": contents.sha256(data), "base": contents.sha256(base)}
    asked: dict[str, Any] = {"count": cfg.frames.count, "variants": cfg.frames.variants}
    asked |= {"flip": cfg.frames.flip, "crop": cfg.frames.crop}
    identity = provenance.fingerprint(
        cfg.run.seed, cfg.run.threads, cfg.run.device, arithmetic.current(), asked, hashes,
        code=["gillnext.frames.latents"],
    )  # fmt: skip
    work = out.with_name(out.name + ".work")
    if work.exists() and (not (work / "identity").exists() or (work / "identity").read_text() != identity):
        shutil.rmtree(work)
    work.mkdir(parents=True, exist_ok=True)
    files.write_text(work / "identity", identity)
    for split, found in splits.items():
        _split(cfg, pipeline, found, folder / split, split, work)
    texts, known = _texts(pipeline, {split: list(found["edit_prompt"]) for split, found in splits.items()})
    save_file(texts, work / TEXTS)
    about = {
        "clips": {split: len(found) for split, found in splits.items()},
        "side": pipeline.side,
        "instructions": dataclasses.asdict(known),
        **asked,
        "hashes": hashes,
        "provenance": provenance.stamp(),
    }
    files.write_json(work / ABOUT, about)
    (work / "identity").unlink()
    with files.atomic(out) as temporary:
        work.rename(temporary)
    for line in known.told():
        print(line)
    return about


class Latents:
    """A split of the folder that this stage wrote, mapped: nothing is read before it is asked for."""

    def __init__(self, folder: Path, split: str) -> None:
        self.folder, self.split = folder, split
        self.about = files.read_json(folder / ABOUT)
        if split not in self.about["clips"]:
            raise UserError(f"no split {split!r}", where=str(folder), remedy=f"one of {', '.join(self.about['clips'])}")
        self.shards = []
        for k in range(-(-self.about["clips"][split] // SHARD)):
            with safe_open(folder / f"{split}-{k:05d}.safetensors", "pt") as opened:
                self.shards.append({name: opened.get_tensor(name) for name in ("frames", "target")})
        texts = load_file(folder / TEXTS)
        self.number, self.states, self.pooled = texts[f"number.{split}"], texts["states"], texts.get("pooled")

    def __len__(self) -> int:
        return self.about["clips"][self.split]

    @property
    def versions(self) -> int:
        return self.shards[0]["frames"].shape[1]

    def of(self, clip: int, version: int, frames: int) -> tuple[Tensor, Tensor]:
        """The last `frames` frames (F, C, h, w) and the target (C, h, w) of a clip in a version."""
        shard = self.shards[clip // SHARD]
        return shard["frames"][clip % SHARD, version, -frames:], shard["target"][clip % SHARD, version]

    def texts(self, numbers: Tensor) -> tuple[Tensor, Tensor | None]:
        """States (N, T, D) and pooled states (N, P) of instructions, by their numbers; −1 is the empty one."""
        return self.states[numbers], None if self.pooled is None else self.pooled[numbers]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the dataset of `gillnext frames`")
    parser.add_argument("--clips", type=Path, required=True, metavar="DIR", help="folder of the clips that it names")
    parser.add_argument("--base", type=Path, required=True, metavar="DIR", help="pipeline whose parts encode")
    add_out(parser, "folder of the latents")


def main(args: argparse.Namespace) -> None:
    build(config(args), args.data, args.clips, args.base, args.out)
