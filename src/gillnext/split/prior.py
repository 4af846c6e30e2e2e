"""Boxes of the chance level, from a release's own layouts: those of other pictures with as many boxes.

The file has the form that `gillnext score --prior` reads: `boxes`[d, i, c − 1, :c] are c boxes, xyxy in [0, 1], for
image i of a set in redraw d. They are drawn from the training side, so that nothing of a held-out picture is in them.

Letters: D redraws, I images, C numbers of boxes from 1 on, N rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from gillnext.runtime import files, seeds

REDRAWS = 5


@dataclass(frozen=True)
class Drawn:
    """Which rows' boxes go where: `picks`[d, i, c] are rows, and the places among all their boxes that are taken.

    `nearest` tells the number of boxes that was taken where no layout has the number asked for.
    """

    shape: tuple[int, int, int]
    picks: dict[tuple[int, int, int], tuple[np.ndarray, np.ndarray]]
    nearest: dict[int, int]

    def instead(self, counts: Iterable[int]) -> dict[str, int]:
        """Of these numbers of boxes, as text, those that have others' boxes, and how many boxes these layouts have."""
        return {str(count): self.nearest[count] for count in sorted(set(counts)) if count in self.nearest}

    @property
    def rows(self) -> set[int]:
        """The rows whose boxes are needed."""
        return {int(row) for rows, _ in self.picks.values() for row in rows}

    def boxes(self, of_row: Mapping[int, np.ndarray]) -> np.ndarray:
        """(D, I, C, C, 4) the boxes, from those (n, 4) of each row."""
        redraws, images, most = self.shape
        found = np.zeros((redraws, images, most, most, 4))
        for (draw, index, count), (rows, places) in self.picks.items():
            found[draw, index, count - 1, :count] = np.concatenate([of_row[int(row)] for row in rows])[places]
        return found


def draw(count_N: np.ndarray, images: int, most: int, seed: int, redraws: int = REDRAWS) -> Drawn:
    """Draw rows for `images` images and each number of boxes up to `most`; `count_N` has the training rows' numbers of
    boxes, 0 for other rows. What image i gets in a redraw hangs on the seed, the redraw and i.
    """
    known = np.unique(count_N[count_N > 0])
    source = {c: int(known[np.argmin(np.abs(known.astype(int) - c))]) for c in range(1, most + 1)}
    rows_of = {n: np.flatnonzero(count_N == n) for n in set(source.values())}
    picks = {}
    for d, i in np.ndindex(redraws, images):
        rng = seeds.rng("release-prior", seed, d, i)
        for c, n in source.items():
            rows = rows_of[n][rng.integers(len(rows_of[n]), size=-(-c // n))]
            places = np.arange(c) if n == c else rng.permutation(n * len(rows))[:c]
            picks[d, i, c] = rows, places
    return Drawn((redraws, images, most), picks, {c: n for c, n in source.items() if c != n})


def save(path: Path, boxes_DICN4: np.ndarray) -> None:
    with files.atomic(path) as temporary:
        save_file({"boxes": boxes_DICN4}, temporary)
