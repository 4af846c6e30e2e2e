"""The pictures that the paper shows, and their layouts, in one archive: `pictures.zip`.

Letters: N layouts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gillnext import layouts
from gillnext.layouts import Layout
from gillnext.record.results import REAL, Results, Scored, there
from gillnext.runtime import picture_archive
from gillnext.runtime.errors import UserError
from gillnext.runtime.picture_archive import PictureArchive

NAME = "pictures.zip"
GRID = 8  # captions of the grid of samples
WORST = 8  # of the reference arm's failures


def chosen(boxes_N: np.ndarray, count: int = GRID) -> list[int]:
    """The first `count` layouts with two objects or more, filled up with the first of the others: nothing is picked by
    how it came out. `boxes_N`: objects of each layout.
    """
    several, others = np.flatnonzero(boxes_N >= 2), np.flatnonzero(boxes_N < 2)
    return sorted(int(i) for i in np.concatenate([several, others])[:count])


def worst(boxes_N: np.ndarray, iou_N: np.ndarray, count: int = WORST) -> list[int]:
    """Images with the lowest mean IoU over their boxes, the lowest first; ties in their order."""
    means = np.where(boxes_N > 0, iou_N / np.maximum(boxes_N, 1), np.inf)
    return [int(i) for i in np.argsort(means, kind="stable")[:count]]


def in_grid(results: Results) -> list[int]:
    """The test layouts in the grid of samples."""
    return chosen(results.per_image(results.first(), "boxes"))


def failing(results: Results) -> list[int]:
    """The test layouts that the reference arm's first seed failed most at."""
    boxes_N, iou_N = (results.per_image(results.first(), name) for name in ("boxes", "iou"))
    return worst(boxes_N, iou_N)


def shown(results: Results) -> dict[Scored, list[int]]:
    """Set -> which of its pictures are shown."""
    grid, mine = in_grid(results), results.first()
    found = dict.fromkeys([REAL, *(results.scored(arm)[0] for arm in results.config.study.shown_arms)], grid)
    return found | {mine: sorted({*found.get(mine, []), *failing(results)})}


def folder(of: Scored) -> str:
    """Where the pictures of a set lie in the results."""
    return "reference/real" if of == REAL else f"samples/{of.arm}/{of.seed}/{of.split}"


def write(root: Path, results: Results) -> None:
    """Write the archive of the run in `root`; `UserError` where a picture is not there."""
    wanted = shown(results)
    rows = layouts.read(root / folder(results.first()) / "layouts.jsonl")
    needed = {str(i): rows[i].to_row() for i in sorted({i for indices in wanted.values() for i in indices})}

    def entries() -> Iterator[tuple[str, str | bytes]]:
        yield "layouts.json", json.dumps(needed, ensure_ascii=False)
        for of, indices in wanted.items():
            for index in indices:
                name = f"{folder(of)}/{index:05d}.png"
                if not (root / name).exists():
                    command = "ceilings" if of == REAL else f"sample --arm {of.arm} --seed {of.seed}"
                    raise UserError("no such image", where=str(root / name), remedy=f"make it: gillnext {command}")
                yield name, (root / name).read_bytes()

    picture_archive.write(root / NAME, entries())


class Pictures:
    """The archive of a run, open."""

    def __init__(self, results: Results) -> None:
        self.archive = PictureArchive(there(results.root / NAME))
        self.rows = self.archive.json("layouts.json")

    def layout(self, index: int) -> Layout:
        """Test layout `index`."""
        return layouts.from_row(self.rows[str(index)], f"layout {index}")

    def image(self, of: Scored, index: int) -> np.ndarray:
        """Picture `index` of a set, (H, W, 3) uint8."""
        return self.archive.image(f"{folder(of)}/{index:05d}.png")
