"""The rows of a CSV of drawn boxes (`labels`), and the checks of the one that the setting `annotate.labels` names.

The Snakefile reads this module on hosts that have Snakemake alone: standard library only.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn

from gillnext.runtime import files
from gillnext.runtime.errors import UserError

HEADER = ["image", "name", "x1", "y1", "x2", "y2"]
UNFILLED = "?"


class Row(NamedTuple):
    """One row: its line, the image, a name and four numbers as they are written, all empty where the image shows
    nothing.
    """

    line: int
    image: str
    name: str
    box: list[str]

    @property
    def empty(self) -> bool:
        return not self.name and not any(self.box)


def refuse(what: str, where: str, remedy: str = "") -> NoReturn:
    form = "rows are image,name,x1,y1,x2,y2 in fractions of the image; image,,,,, where it shows nothing"
    raise UserError(what, where=where, remedy=remedy or form)


def _cells(line: str, where: str) -> list[str]:
    try:
        return next(csv.reader([line.rstrip("\r\n")], strict=True))
    except csv.Error as error:
        refuse(f"not CSV: {error}", where, "quote a field that holds a comma or a quote, and double its quotes")


def rows(path: Path | str) -> Iterator[Row]:
    """The filled-in rows; `UserError` names the first that is none, or another header."""
    lines = files.numbered_lines(path, "save it as CSV in UTF-8")
    if _cells(next(lines, (1, ""))[1] or ",", f"{path}, line 1") != HEADER:
        refuse("another header", f"{path}, line 1", f"the first line is {','.join(HEADER)}, with commas")
    for number, line in lines:
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        cells = _cells(line, where)
        if len(cells) != len(HEADER):
            refuse(f"{len(cells)} fields instead of {len(HEADER)}", where)
        image, name, *box = (cell.strip() for cell in cells)
        if not image:
            refuse("no image", where)
        if name == UNFILLED:
            refuse(f"{image} is not filled in", where, "draw its boxes, or delete the row")
        yield Row(number, image, name, box)


def check(path: Path | str, images: str) -> None:
    """Read all rows; `UserError` where none is of an image in the folder `images` of a run, as its layouts call it."""
    found = list(rows(path))
    if not found:
        refuse("no images in it", str(path), "label some images first")
    if not any(row.image.startswith(f"{images}/") for row in found):
        refuse(
            f"{found[0].image} is no image of this run, and none of {len(found)} rows is of one",
            f"{path}, line {found[0].line}",
            f"label images of {images}: gillnext review --label --sample 300 --layouts …",
        )
