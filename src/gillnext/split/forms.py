"""Layouts in the forms that benchmarks are published in, read as ours: OverLayBench's and COCO's.

OverLayBench (Li et al., 2025, arXiv:2509.19282), as its data set and its code have it: a row an image of `image_id` and
`annotation`, in Parquet, in JSON lines or in one JSON list; or one JSON object of image id to annotation. An annotation
is an object, or the text of one as Python or JSON writes it: `caption`; `annotations`, an object of instance name to
`bbox` (x1, y1, x2, y2 in pixels of a picture of 1024 × 1024) and `category`; `valid_overlap`, a list of `overlap_box`,
the places of two instances between which its O-mIoU is taken.

COCO (cocodataset.org/#format-data): one JSON object of `images` (id, width, height, file_name), `annotations`
(image_id, category_id, bbox as x, y, width, height in pixels, iscrowd) and `categories` (id, name); captions are
`annotations` (image_id, caption) of a second such file.

What a file says wrongly raises `UserError` with its place. What the published files are known to hold, and is no box of
one thing, is left out and counted.
"""

from __future__ import annotations

import ast
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from gillnext import boxes
from gillnext.layouts import Layout, from_row
from gillnext.runtime import files
from gillnext.runtime.errors import UserError

SIDE = 1024  # pixels of OverLayBench's pictures
LONGEST = 1_000_000  # characters of an annotation's text
CROWD, FLAT, EDGE = "a crowd", "a box without area", "up to a pixel over the picture's edge, cut there"
EMPTY, SILENT = "image without boxes", "image without caption"
SLACK = 1.0  # pixels that published boxes may stand over the edge, from rounding
Row = dict[str, Any]


def _refuse(what: str, where: str, form: str) -> UserError:
    remedy = f"mend the file, or name its form; `gillnext heldout-from --help` tells what {form} looks like"
    return UserError(what, where=where, remedy=remedy)


def _get(row: Any, key: str, kind: type | tuple[type, ...], where: str, form: str) -> Any:
    """`row[key]`, which has to be of a kind; `UserError` where it is not."""
    value = row.get(key) if isinstance(row, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool) or (isinstance(value, str) and not files.is_text(value)):
        found = f"{key!r} is {value!r:.60}" if isinstance(row, dict) and key in row else f"{key!r} is missing"
        raise _refuse(found, where, form)
    return value


def overlaybench(path: Path, counts: Counter[str]) -> Iterator[Layout]:
    """The layouts of a file in OverLayBench's form; images without boxes are counted and left out."""
    for key, annotation, where in _annotations(path):
        caption = _get(annotation, "caption", str, where, "overlaybench")
        instances = _get(annotation, "annotations", dict, where, "overlaybench")
        objects = []
        for name, instance in instances.items():
            place = f"{where}, instance {name!r}"
            box = _pixels(_get(instance, "bbox", (list, tuple), place, "overlaybench"), (SIDE, SIDE), place, counts)
            objects.append({"name": _get(instance, "category", str, place, "overlaybench"), "bbox": box})
        if not objects:
            counts[EMPTY] += 1
            continue
        row = {"id": key, "caption": caption, "objects": objects}
        yield from_row(row | _overlaps(annotation, len(objects), where), where)


def _overlaps(annotation: Row, count: int, where: str) -> Row:
    """The pairs of objects that O-mIoU is taken between, where the file tells them."""
    if "valid_overlap" not in annotation:
        return {}
    pairs = []
    for entry in _get(annotation, "valid_overlap", (list, tuple), where, "overlaybench"):
        pair = _get(entry, "overlap_box", (list, tuple), f"{where}, valid_overlap", "overlaybench")
        good = len(pair) == 2 and all(type(i) is int and 0 <= i < count for i in pair) and pair[0] != pair[1]
        if not good:
            raise _refuse(f"{pair!r:.60} are not two of {count} instances", f"{where}, valid_overlap", "overlaybench")
        pairs.append(sorted(pair))
    return {"overlaps": pairs}


def _annotations(path: Path) -> Iterator[tuple[str, Row, str]]:
    """(image id, annotation, place) of each image of a file in OverLayBench's form."""
    if path.suffix == ".parquet":
        try:
            table = pl.read_parquet(path, columns=["image_id", "annotation"], glob=False)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise _refuse(f"no table of image_id and annotation: {error}", str(path), "overlaybench") from error
        rows = ((row, f"{path}, row {n}") for n, row in enumerate(table.iter_rows(named=True)))
    elif path.suffix == ".jsonl":
        rows = ((row, f"{path}, line {n}") for n, row in files.numbered_jsonl(path))
    else:
        content = files.read_json(path)
        if isinstance(content, dict):
            content = [{"image_id": key, "annotation": value} for key, value in content.items()]
        if not isinstance(content, list):
            raise _refuse("neither a list nor an object of images", str(path), "overlaybench")
        rows = ((row, f"{path}, image {n}") for n, row in enumerate(content))
    for row, where in rows:
        key = str(_get(row, "image_id", (str, int), where, "overlaybench"))
        annotation = _get(row, "annotation", (str, dict), where, "overlaybench")
        yield key, _literal(annotation, where) if isinstance(annotation, str) else annotation, where


def _literal(text: str, where: str) -> Row:
    """The object that a text writes as JSON or as Python's literals, which is how the data set has them."""
    if len(text) > LONGEST:
        raise _refuse(f"an annotation of {len(text)} characters", where, "overlaybench")
    try:
        try:
            value = json.loads(text)
        except ValueError:
            value = ast.literal_eval(text)  # constants and containers alone: nothing in it is run
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError) as error:
        raise _refuse(f"'annotation' is neither JSON nor a Python literal: {error}", where, "overlaybench") from error
    if not isinstance(value, dict):
        raise _refuse(f"'annotation' is {value!r:.60} and no object", where, "overlaybench")
    return value


def _pixels(box: Any, size: tuple[int, int], where: str, counts: Counter[str]) -> list[float]:
    """Corners in pixels as fractions of the picture; up to `SLACK` over its edge is cut and counted, more an error."""
    if len(box) != 4 or not all(map(boxes.is_number, box)):
        raise UserError(f"box {list(box)!r:.60} is not four numbers", where=where, remedy="mend the file")
    limits = (*size, *size)
    over = max(max(-value, value - limit) for value, limit in zip(box, limits, strict=True))
    if 0 < over <= SLACK:
        counts[EDGE] += 1
        box = [min(max(value, 0), limit) for value, limit in zip(box, limits, strict=True)]
    return list(boxes.to_unit([box], boxes.Convention.PIXELS, size=size, where=where)[0])


def coco(path: Path, counts: Counter[str], captions: Path | None = None) -> Iterator[Layout]:
    """The layouts of a file of COCO's instances, in the order of the images' ids.

    Captions are the first of each image in `captions`, or else in a key `caption` of the images; images without boxes
    or caption are counted and left out.
    """
    content = files.read_json(path)
    names = {
        _get(row, "id", int, f"{path}, category {n}", "coco"): _get(row, "name", str, f"{path}, category {n}", "coco")
        for n, row in enumerate(_get(content, "categories", list, str(path), "coco"))
    }
    by_image = _objects(content, path, counts)
    first = _captions(captions) if captions else {}
    images = _get(content, "images", list, str(path), "coco")
    places = {_get(row, "id", int, f"{path}, image {n}", "coco"): row for n, row in enumerate(images)}
    if unknown := sorted(set(by_image) - set(places)):
        raise _refuse(f"boxes of image {unknown[0]}, which 'images' does not list", str(path), "coco")
    for key, row in sorted(places.items()):
        where = f"{path}, image {key}"
        size = (_get(row, "width", int, where, "coco"), _get(row, "height", int, where, "coco"))
        caption = first.get(key, row.get("caption") or "")
        objects = []
        for number, category, (x, y, width, height) in by_image.get(key, []):
            place = f"{path}, annotation {number}"
            if category not in names:
                raise _refuse(f"no category has the id {category}", place, "coco")
            box = _pixels([x, y, x + width, y + height], size, place, counts)
            objects.append({"name": names[category], "bbox": box})
        if not objects or not caption:
            counts[SILENT if objects else EMPTY] += 1
            continue
        about = {"width": size[0], "height": size[1]}
        if row.get("file_name"):
            about["image_path"] = _get(row, "file_name", str, where, "coco")
        yield from_row({"id": str(key), "caption": caption, "objects": objects} | about, where)


def _objects(content: Any, path: Path, counts: Counter[str]) -> dict[int, list[tuple[int, int, list[float]]]]:
    """(place in the file, category, x y width height) of each box, by image."""
    found: dict[int, list[tuple[int, int, list[float]]]] = {}
    for number, row in enumerate(_get(content, "annotations", list, str(path), "coco")):
        where = f"{path}, annotation {number}"
        image, category = (_get(row, key, int, where, "coco") for key in ("image_id", "category_id"))
        box = _get(row, "bbox", list, where, "coco")
        if len(box) != 4 or not all(map(boxes.is_number, box)):
            raise _refuse(f"'bbox' {box!r:.60} is not four numbers", where, "coco")
        if row.get("iscrowd"):
            counts[CROWD] += 1
        elif box[2] <= 0 or box[3] <= 0:
            counts[FLAT] += 1
        else:
            found.setdefault(image, []).append((number, category, box))
    return found


def _captions(path: Path) -> dict[int, str]:
    """The first caption of each image in a file of COCO's captions, by its place in the file."""
    found: dict[int, str] = {}
    for number, row in enumerate(_get(files.read_json(path), "annotations", list, str(path), "coco")):
        where = f"{path}, annotation {number}"
        caption = _get(row, "caption", str, where, "coco").strip()
        found.setdefault(_get(row, "image_id", int, where, "coco"), caption)
    return found
