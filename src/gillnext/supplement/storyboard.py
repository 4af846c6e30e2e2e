"""Keep the clips that the supplement shows: some frames of each, its target, and what was drawn of it.

    gillnext storyboard --edits results/demo/supplement/edits --data results/demo/supplement/frames \\
        --clips results/demo/supplement/clips --out results/demo/supplement/frames.zip

The archive has `clips.json` (name, task and instruction of each) and NAME/WHAT.png. The same pictures are the same
bytes.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gillnext.frames.rows import load, seen
from gillnext.runtime import picture_archive
from gillnext.runtime.picture_archive import PictureArchive

COUNT = 2  # clips of a task
FRAMES = ("first", "middle", "last", "target")
DRAWN = ("frames", "one", "untold", "repeated", "mean")
ROWS = "clips.json"


def chosen(names: list[str], count: int = COUNT) -> list[int]:
    """The first clips of each task, a task being the folder that a clip lies in; not picked by what was drawn."""
    tasks = list(dict.fromkeys(name.partition("/")[0] for name in names))
    found = [[i for i, name in enumerate(names) if name.partition("/")[0] == task][:count] for task in tasks]
    return [i for rows in found for i in rows]


def _png(pixels: np.ndarray) -> bytes:
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG", optimize=True)
    return data.getvalue()


def write(edits: Path, data: Path, clips: Path, out: Path) -> None:
    """Write the archive `out`."""
    rows = load(data)["test"]
    names = [frames[0].rpartition("/")[0] for frames in rows["input_frames"]]
    drawn = {way: np.load(edits / "test" / f"{way}.npy", mmap_mode="r", allow_pickle=False) for way in DRAWN}
    pictures = seen(data, clips, "test", drawn["frames"].shape[1])
    texts = rows["edit_prompt"]
    about = [{"name": names[i], "instruction": texts[i]} for i in chosen(names)]

    def entries() -> Iterator[tuple[str, str | bytes]]:
        yield ROWS, json.dumps(about, ensure_ascii=False)
        for i in chosen(names):
            for what in (*FRAMES, *DRAWN):
                pixels = np.asarray(pictures[what][i] if what in FRAMES else drawn[what][i])
                yield f"{names[i]}/{what}.png", _png(pixels)

    picture_archive.write(out, entries())


class Shown:
    """The archive, open: `rows` with name and instruction, and each one's pictures."""

    def __init__(self, path: Path) -> None:
        self.archive = PictureArchive(path)
        self.rows: list[dict[str, Any]] = self.archive.json(ROWS)

    def image(self, name: str, what: str) -> np.ndarray:
        """(H, W, 3) uint8."""
        return self.archive.image(f"{name}/{what}.png")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--edits", type=Path, required=True, metavar="DIR", help="of `gillnext edit_frames`")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the dataset of `gillnext frames`")
    parser.add_argument("--clips", type=Path, required=True, metavar="DIR", help="the clips that it names")
    parser.add_argument("--out", type=Path, required=True, metavar="ZIP", help="the archive")


def main(args: argparse.Namespace) -> None:
    write(args.edits, args.data, args.clips, args.out)
