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

from gillnext import boxes
from gillnext.annotate.label_rows import HEADER, UNFILLED, refuse, rows
from gillnext.layouts import Box, Layout
from gillnext.runtime import files


def _box(cells: list[str], where: str) -> Box:
    try:
        values = [float(cell) for cell in cells]
    except ValueError:
        refuse(f"{','.join(cells)!r:.60} is not four numbers", where)
    return boxes.check(values, where)


def read(path: Path | str) -> dict[str, Layout]:
    """The boxes of each image of the CSV, as layouts without a caption, with the `line` of its first; `UserError` names
    the first bad row.
    """
    found: dict[str, list[tuple[str, Box]]] = {}
    empty: set[str] = set()
    first: dict[str, int] = {}
    for row in rows(path):
        where, image = f"{path}, line {row.line}", row.image
        if image in empty or (image in found and row.empty):
            refuse(f"{image} has boxes and a row that says it shows nothing, or that row twice", where)
        first.setdefault(image, row.line)
        boxes_of = found.setdefault(image, [])
        if row.empty:
            empty.add(image)
            continue
        if not files.is_text(row.name):
            refuse("no name", where)
        entry = row.name, _box(row.box, where)
        if entry in boxes_of:
            refuse(f"{row.name} comes twice in one place", where, "delete one of the rows")
        boxes_of.append(entry)
    if not found:
        refuse("no images in it", str(path), "label some images first")
    return {
        image: Layout("", tuple(n for n, _ in of), tuple(b for _, b in of), "", image, {"line": first[image]})
        for image, of in found.items()
    }


def write_blank(path: Path | str, images: Iterable[str]) -> None:
    """The CSV to fill in: a row an image, which `read` refuses as long as it stands there."""
    with files.atomic(path) as temporary, open(temporary, "w", encoding="utf-8-sig", newline="") as text:
        table = csv.writer(text, lineterminator="\n")
        table.writerow(HEADER)
        table.writerows([image, UNFILLED, "", "", "", ""] for image in images)
