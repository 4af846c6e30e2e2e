"""A folder of cut-outs: pictures with an alpha channel, and `objects.csv`, which names what they show.

The table has the columns file, name and measure; split, licence, author and medium may stand beside them:

    file,name,measure,split,licence,author,medium
    dog.png,狗,条,train,GPL-2,…,photograph

Rows of one name are pictures of one kind, and kinds are numbered in the table's order. `split` is train or heldout;
where no row of a name has one, the last of two rows or more is held out. A name's only picture belongs to both sides.
`medium` is what all pictures of the folder are, photograph or drawing (photograph where nothing is said): what captions
call a scene of them.

The folder is anybody's: nothing outside it is read, and no picture is decoded that is larger than `PIXELS`.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from gillnext.miniatures.world.kinds import Kind
from gillnext.runtime import files
from gillnext.runtime.errors import UserError

TABLE = "objects.csv"
NEEDED, BESIDE = ("file", "name", "measure"), ("split", "licence", "author", "medium")
TRAIN, HELD_OUT = "train", "heldout"
PHOTOGRAPH, DRAWING = "photograph", "drawing"
FORMATS = ("PNG", "WEBP")
PIXELS = 16_000_000  # width times height of the largest picture that is decoded
LEAST = 5  # kinds: a scene has up to four, and a caption may name one more
OPAQUE = 0.5  # alpha from which a pixel belongs to the object
NARROW = 4.0  # largest ratio of an object's sides
_CHINESE = re.compile("[\u3400-\u9fff]+")


@dataclass(frozen=True)
class Cutout:
    """One picture of a kind: `rgba` (H, W, 4) uint8, cut to its object's opaque pixels."""

    file: str
    kind: Kind
    held_out: bool
    rgba: np.ndarray
    licence: str = ""
    author: str = ""
    medium: str = PHOTOGRAPH


@dataclass(frozen=True)
class Row:
    """A row of the table, with the line that it ends on; `more` has the cells of columns that no folder needs."""

    line: int
    file: str
    name: str
    measure: str
    split: str = ""
    licence: str = ""
    author: str = ""
    medium: str = ""
    more: Mapping[str, str] = field(default_factory=dict)


def read_table(path: Path) -> list[Row]:
    """The rows of `objects.csv`; `UserError` with the line where one is not as it has to be."""
    if not path.is_file():
        raise UserError("no such table", where=str(path), remedy=f"a CSV of {', '.join(NEEDED)} beside the pictures")
    reader = csv.DictReader(io.StringIO(files.read_text(path), newline=""))
    columns = reader.fieldnames or []
    if lacking := [name for name in NEEDED if name not in columns]:
        raise UserError(f"lacks the column {lacking[0]}", where=f"{path}, line 1", remedy=f"name it {lacking[0]}")
    rows = []
    for cells in reader:
        here = {name: (cells.get(name) or "").strip() for name in (*NEEDED, *BESIDE)}
        more = {name: (cells[name] or "").strip() for name in columns if name not in here}
        rows.append(Row(reader.line_num, **here, more=more))
    for row in rows:
        _check(row, f"{path}, line {row.line}")
    _check_names(rows, path)
    return rows


def _check(row: Row, where: str) -> None:
    """Refuse a row that names no picture of the folder, or no noun of a caption."""
    place = PurePosixPath(row.file)
    if not row.file or place.is_absolute() or ".." in place.parts or "\\" in row.file or ":" in row.file:
        raise UserError(f"{row.file!r} is no path inside the folder", where=where, remedy="name it from the folder on")
    for column in ("name", "measure"):
        if not _CHINESE.fullmatch(getattr(row, column)):
            said = f"{column} {getattr(row, column)!r} is not of Chinese characters alone"
            raise UserError(said, where=where, remedy="a noun and its measure word, such as 狗 and 条")
    if row.split not in ("", TRAIN, HELD_OUT):
        raise UserError(f"no split {row.split!r}", where=where, remedy=f"{TRAIN}, {HELD_OUT}, or nothing")
    if row.medium not in ("", PHOTOGRAPH, DRAWING):
        raise UserError(f"no medium {row.medium!r}", where=where, remedy=f"{PHOTOGRAPH}, {DRAWING}, or nothing")


def _check_names(rows: list[Row], path: Path) -> None:
    """Refuse names that captions would mix up, and tables of too few."""
    measures: dict[str, Row] = {}
    seen: dict[str, Row] = {}
    for row in rows:
        where = f"{path}, line {row.line}"
        first = measures.setdefault(row.name, row)
        if first.measure != row.measure:
            said = f"{row.name} has the measure word {row.measure}, and {first.measure} in line {first.line}"
            raise UserError(said, where=where, remedy="give one of them")
        if row.medium != rows[0].medium:
            said = f"the medium {row.medium or 'of no name'}, and {rows[0].medium or 'none'} in line {rows[0].line}"
            raise UserError(said, where=where, remedy="give all rows one medium: a scene is photographed or drawn")
        if (other := seen.setdefault(row.file, row)) is not row:
            raise UserError(f"{row.file} stands in line {other.line} too", where=where, remedy="leave one of them out")
    for row in measures.values():
        if longer := [name for name in measures if row.name in name and name != row.name]:
            said = f"{row.name} is a part of {longer[0]}: what names the one would name the other"
            raise UserError(said, where=f"{path}, line {row.line}", remedy="call one of them otherwise")
    if len(measures) < LEAST:
        raise UserError(f"{len(measures)} different names", where=str(path), remedy=f"a world needs {LEAST} or more")


def decode(path: Path, where: str) -> np.ndarray:
    """The picture, cut to its opaque pixels, (H, W, 4) uint8; `UserError` where it is too large or has no object."""
    if not path.is_file():
        raise UserError(f"no picture {path.name}", where=where, remedy="put it there, or take the row out")
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > PIXELS:
                said = f"{path.name} has {image.width} × {image.height} pixels"
                raise UserError(said, where=where, remedy=f"scale it down to {PIXELS:,} or fewer")
            if "A" not in image.getbands() and "transparency" not in image.info:
                raise UserError(f"{path.name} has no alpha channel", where=where, remedy="cut its object out")
            rgba = np.array(image.convert("RGBA"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{path.name} is no picture: {error}", where=where, remedy="save it as PNG again") from error
    ys, xs = np.nonzero(rgba[..., 3] >= OPAQUE * 255)
    if not len(ys):
        raise UserError(f"{path.name} is transparent all over", where=where, remedy="cut its object out, or drop it")
    cut = rgba[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
    if max(cut.shape[:2]) > NARROW * min(cut.shape[:2]):
        said = f"{path.name} is {cut.shape[1]} × {cut.shape[0]} pixels without its empty margins"
        raise UserError(said, where=where, remedy=f"an object whose sides differ {NARROW:g} times at most")
    return cut


def read(folder: Path | str) -> tuple[Cutout, ...]:
    """The cut-outs of a folder, in the table's order; `UserError` names file, line and remedy."""
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError("no such folder", where=str(folder), remedy="drawn, or a folder of cut-outs with objects.csv")
    table = folder / TABLE
    rows = read_table(table)
    names = list(dict.fromkeys(row.name for row in rows))
    of_name = {name: [row for row in rows if row.name == name] for name in names}
    held = {id(row) for same in of_name.values() for row in _held_out(same)}
    root, found = folder.resolve(), []
    for row in rows:
        where, path = f"{table}, line {row.line}", folder / row.file
        if not path.resolve().is_relative_to(root):
            raise UserError(f"{row.file} leads out of the folder", where=where, remedy="copy the picture into it")
        kind = Kind(names.index(row.name), row.name, row.measure)
        found.append(Cutout(row.file, kind, id(row) in held, decode(path, where), *credit(row)))
    for name, same in of_name.items():
        if len(same) > 1 and len(held & {id(row) for row in same}) == len(same):
            said = f"every picture of {name} is held out"
            raise UserError(said, where=f"{table}, line {same[0].line}", remedy=f"leave one in {TRAIN}")
    return tuple(found)


def credit(row: Row) -> tuple[str, str, str]:
    """Licence, author and medium of a row's picture."""
    return row.licence, row.author, row.medium or PHOTOGRAPH


def _held_out(same: list[Row]) -> list[Row]:
    """Which rows of a name are held out."""
    if len(same) < 2:
        return []
    marked = any(row.split for row in same)
    return [row for row in same if row.split == HELD_OUT] if marked else same[-1:]
