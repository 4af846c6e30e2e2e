"""Boxes that a person has drawn: a CSV `image,name,x1,y1,x2,y2`, read strictly.

    truth = labels.read("labels.csv")      # {image path: Layout}

`image` is the layouts' `image_path`. Coordinates are fractions of the image, xyxy in [0, 1] as in layouts, and so hold
for a copy of any size. An image that was looked at and shows nothing has one row with all else empty; one that is not
in the file was not looked at. A row whose name is `?` is still to be filled in.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from gillnext import boxes
from gillnext.layouts import Box, Layout
from gillnext.runtime import files
from gillnext.runtime.errors import UserError

HEADER = ["image", "name", "x1", "y1", "x2", "y2"]
UNFILLED = "?"


def _refuse(what: str, where: str, remedy: str = "") -> NoReturn:
    form = "rows are image,name,x1,y1,x2,y2 in fractions of the image; image,,,,, where it shows nothing"
    raise UserError(what, where=where, remedy=remedy or form)


def _cells(line: str, where: str) -> list[str]:
    try:
        return next(csv.reader([line.rstrip("\r\n")], strict=True))
    except csv.Error as error:
        _refuse(f"not CSV: {error}", where, "quote a field that holds a comma or a quote, and double its quotes")


def _box(cells: list[str], where: str) -> Box:
    try:
        values = [float(cell) for cell in cells]
    except ValueError:
        _refuse(f"{','.join(cells)!r:.60} is not four numbers", where)
    return boxes.check(values, where)


def read(path: Path | str) -> dict[str, Layout]:
    """The boxes of each image of the CSV, as layouts without a caption; `UserError` names the first bad row."""
    found: dict[str, list[tuple[str, Box]]] = {}
    empty: set[str] = set()
    lines = files.numbered_lines(path, "save it as CSV in UTF-8")
    if _cells(next(lines, (1, ""))[1] or ",", f"{path}, line 1") != HEADER:
        _refuse("another header", f"{path}, line 1", f"the first line is {','.join(HEADER)}, with commas")
    for number, line in lines:
        if not line.strip():
            continue
        where, cells = f"{path}, line {number}", _cells(line, f"{path}, line {number}")
        if len(cells) != len(HEADER):
            _refuse(f"{len(cells)} fields instead of {len(HEADER)}", where)
        image, name, *rest = (cell.strip() for cell in cells)
        if not image:
            _refuse("no image", where)
        if name == UNFILLED:
            _refuse(f"{image} is not filled in", where, "draw its boxes, or delete the row")
        if image in empty or (image in found and not name and not any(rest)):
            _refuse(f"{image} has boxes and a row that says it shows nothing, or that row twice", where)
        boxes_of = found.setdefault(image, [])
        if not name and not any(rest):
            empty.add(image)
            continue
        if not files.is_text(name):
            _refuse("no name", where)
        entry = name, _box(rest, where)
        if entry in boxes_of:
            _refuse(f"{name} comes twice in one place", where, "delete one of the rows")
        boxes_of.append(entry)
    if not found:
        _refuse("no images in it", str(path), "label some images first")
    return {
        image: Layout("", tuple(n for n, _ in rows), tuple(b for _, b in rows), image_path=image)
        for image, rows in found.items()
    }


def write_blank(path: Path | str, images: Iterable[str]) -> None:
    """The CSV to fill in: a row an image, which `read` refuses as long as it stands there."""
    with files.atomic(path) as temporary, open(temporary, "w", encoding="utf-8-sig", newline="") as text:
        table = csv.writer(text, lineterminator="\n")
        table.writerow(HEADER)
        table.writerows([image, UNFILLED, "", "", "", ""] for image in images)
