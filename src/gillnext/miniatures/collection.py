"""Pictures out of a package, made into a folder of cut-outs: trimmed, scaled down, with their table and attribution."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from gillnext.miniatures.world import cutouts
from gillnext.runtime import files
from gillnext.runtime.errors import UserError

SIDE = 192  # pixels of a cut-out's longer side, at most
ATTRIBUTION = "ATTRIBUTION.txt"


@dataclass(frozen=True)
class Collection:
    """The chosen `rows` of a `table`; the bytes of each one's picture, by the row's file; who made them, in words."""

    table: Path
    rows: Sequence[cutouts.Row]
    pictures: Mapping[str, bytes]
    about: str


def trimmed(rgba: np.ndarray, side: int = SIDE) -> Image.Image:
    """A cut-out (H, W, 4) uint8 at `side` pixels or fewer, its colours weighed by their alpha."""
    image = Image.fromarray(rgba)
    scale = min(side / max(image.size), 1)
    size = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))
    return image if scale == 1 else image.resize(size, Image.Resampling.LANCZOS)


def write(collection: Collection, out: Path) -> int:
    """Write the folder `out`, whole or not at all; returns how many cut-outs it holds.

    Raises `UserError` with the table's line where a picture is lacking, or is no cut-out.
    """
    with files.atomic(out) as folder:
        folder.mkdir()
        written = []
        for row in collection.rows:
            name, where = row.file.replace("/", "-"), f"{collection.table}, line {row.line}"
            if row.file not in collection.pictures:
                raise UserError(f"no picture {row.file} in the package", where=where, remedy="take the row out")
            path = folder / name
            path.write_bytes(collection.pictures[row.file])
            trimmed(cutouts.decode(path, where)).save(path, "PNG", optimize=True)
            written.append((name, row.name, row.measure, row.split, *cutouts.credit(row)))
        with open(folder / cutouts.TABLE, "w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerows([(*cutouts.NEEDED, *cutouts.BESIDE), *written])
        (folder / ATTRIBUTION).write_text(collection.about, encoding="utf-8")
        cutouts.read(folder)
    return len(written)
