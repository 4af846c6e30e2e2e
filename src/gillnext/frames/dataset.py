"""Write the clips of a folder as a Hugging Face dataset (Arrow), with every frame looked at.

    gillnext frames --config config.yaml --clips results/demo/supplement/clips --out results/demo/supplement/frames

CLIPS has the folders train, val and test (`clips.py` has their forms), or any of them. OUT is what
`datasets.load_from_disk` reads: of each split `input_frames` (list of paths, relative to the split's folder),
`edit_prompt` and `edited_image` (the target, with its bytes). `frames.json` beside them counts what was left out, by
reason. With `frames.broken: error` the first clip that cannot be used ends the stage.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gillnext.config.arguments import add_config, add_out, config
from gillnext.config.model import Config
from gillnext.frames import clips
from gillnext.frames.clips import Clip
from gillnext.frames.rows import COLUMNS
from gillnext.runtime import files, provenance
from gillnext.runtime.errors import UserError
from gillnext.runtime.progress import Progress

SPLITS = ("train", "val", "test")
ABOUT = "frames.json"


def reason(error: UserError) -> str:
    """What is counted: the error without the clip's own numbers."""
    return re.sub(r"\d+", "N", error.what.split(":")[0].split(";")[0])


class Left:
    """Clips that are left out: counted by reason, and the first ones told."""

    def __init__(self, split: str) -> None:
        self.split, self.counts = split, Counter[str]()

    def __call__(self, error: UserError) -> None:
        if sum(self.counts.values()) < 5:
            print(f"{self.split}: {error.where}: {error.what}; left out")
        self.counts[reason(error)] += 1


def usable(folder: Path, split: str, cfg: Config, left: Left | None) -> Iterator[Clip]:
    """The clips of a split whose pictures can all be read and are of one size."""
    found = list(clips.read(folder, cfg.frames.count, left))
    with Progress(f"frames, {split}", len(found), "clips") as progress:
        for clip in found:
            progress.step()
            try:
                clips.pictures(folder, clip)
            except UserError as error:
                if left is None:
                    raise
                left(error)
                continue
            yield clip


def _rows(folder: str, taken: list[tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    for frames, instruction, target in taken:
        image = {"bytes": (Path(folder) / target).read_bytes(), "path": Path(target).name}
        yield dict(zip(COLUMNS, (list(frames), instruction, image), strict=True))


def written(folder: Path, taken: list[Clip], scratch: str) -> Any:
    """The split's dataset; its fingerprint is of what it holds, so that the same clips give the same files."""
    from datasets import Dataset, Features, Image, List, Value

    features = Features(dict(zip(COLUMNS, (List(Value("string")), Value("string"), Image()), strict=True)))
    rows = [(clip.frames, clip.instruction, clip.target) for clip in taken]
    digest = hashlib.sha256(repr(rows).encode())
    for clip in taken:
        digest.update(files.sha256(folder / clip.target).encode())
    return Dataset.from_generator(
        _rows, features=features, cache_dir=scratch, gen_kwargs={"folder": str(folder), "taken": rows},
        fingerprint=digest.hexdigest()[:16],
    )  # fmt: skip


def write(cfg: Config, folder: Path, out: Path) -> dict[str, Any]:
    """Write the dataset `out` of the splits in `folder`; returns what frames.json holds."""
    from datasets import DatasetDict, disable_progress_bars

    disable_progress_bars()
    splits = [split for split in SPLITS if (folder / split).is_dir()]
    if not splits:
        raise UserError("no split there", where=str(folder), remedy=f"folders of clips called {', '.join(SPLITS)}")
    about: dict[str, Any] = {"frames": cfg.frames.count, "clips": {}, "left_out": {}}
    with tempfile.TemporaryDirectory() as scratch, files.atomic(out) as temporary:
        found = {}
        for split in splits:
            left = Left(split) if cfg.frames.broken == "drop" else None
            taken = list(usable(folder / split, split, cfg, left))
            if not taken:
                raise UserError("no clip that can be used", where=str(folder / split), remedy="look at what was told")
            found[split] = written(folder / split, taken, scratch)
            about["clips"][split] = len(taken)
            about["left_out"][split] = dict(left.counts) if left else {}
        DatasetDict(found).save_to_disk(temporary, max_shard_size="500MB")
        files.write_json(temporary / ABOUT, about | {"provenance": provenance.stamp()})
    return about


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("--clips", type=Path, required=True, metavar="DIR", help="folder with train, val, test")
    add_out(parser, "folder of the dataset")


def main(args: argparse.Namespace) -> None:
    about = write(config(args), args.clips, args.out)
    for split, count in about["clips"].items():
        left = about["left_out"][split]
        told = f"; left out {sum(left.values())}: {left}" if left else ""
        print(f"{split}: {count} clips{told}")
