"""Layouts: a caption with its objects and boxes, as JSON lines (`image_path, caption, objects: [{name, bbox}]`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from gillnext import boxes
from gillnext.runtime import files
from gillnext.runtime.errors import UserError

Box = tuple[float, float, float, float]
MAX_BOXES = 6  # of a layout that is drawn: the slots of the adapter's tokens


@dataclass(frozen=True)
class Layout:
    """What should stand where. `boxes` are xyxy in [0, 1], one for each of `names`."""

    caption: str
    names: tuple[str, ...]
    boxes: tuple[Box, ...]
    id: str = ""
    image_path: str = ""
    extra: dict[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if len(self.names) != len(self.boxes):
            raise ValueError(f"{len(self.names)} names and {len(self.boxes)} boxes in {self.id or self.caption!r}")

    def to_row(self) -> dict[str, Any]:
        objects = [
            {"name": name, "bbox": [round(v, 6) for v in box]} for name, box in zip(self.names, self.boxes, strict=True)
        ]
        return {
            "id": self.id,
            "image_path": self.image_path,
            "caption": self.caption,
            "objects": objects,
            **self.extra,
        }


def _refuse(what: str, where: str) -> NoReturn:
    remedy = 'rows are {"caption": "…", "objects": [{"name": "…", "bbox": [x1, y1, x2, y2]}, …]}'
    raise UserError(what, where=where, remedy=remedy)


def _part(row: Any, key: str, kind: type, where: str) -> Any:
    """`row[key]`: a list, or a text that is not blank; `UserError` where it is not of its `kind`."""
    if not isinstance(row, dict):
        _refuse(f"{row!r:.60} is no object", where)
    value = row.get(key)
    if not (files.is_text(value) if kind is str else isinstance(value, kind)):
        wanted = "text" if kind is str else "a list"
        _refuse(f"{key!r} is {value!r:.60} and not {wanted}" if key in row else f"{key!r} is missing", where)
    return value


def _label(row: dict[str, Any], key: str, kinds: tuple[type, ...], where: str) -> str:
    """`row[key]` as text, empty where it is null or not there; `UserError` where it is of none of the `kinds`."""
    value = row.get(key)
    if value is None or value == "":
        return ""
    if type(value) not in kinds or not files.is_text(str(value)):
        _refuse(f"{key!r} is {value!r:.60} and not text", where)
    return str(value)


def from_row(row: Any, where: str, convention: str = "unit") -> Layout:
    """A checked `Layout` from one JSON row; errors name `where` (file and line)."""
    caption, objects = _part(row, "caption", str, where), _part(row, "objects", list, where)
    places = [f"{where}, box {i}" for i in range(len(objects))]
    names = tuple(_part(o, "name", str, place) for o, place in zip(objects, places, strict=True))
    raw = [_part(o, "bbox", list, place) for o, place in zip(objects, places, strict=True)]
    unit = boxes.to_unit(raw, convention, where=where, names=names)
    known = {"id", "image_path", "caption", "objects"}
    extra = {k: v for k, v in row.items() if k not in known}
    key, image = _label(row, "id", (str, int), where), _label(row, "image_path", (str,), where)
    return Layout(caption, names, tuple(unit), key, image, extra)


def stream(path: Path | str, convention: str = "unit") -> Iterator[Layout]:
    """The layouts of a JSONL file, one at a time, each checked; a bad row raises with its line number."""
    return (from_row(row, f"{path}, line {n}", convention) for n, row in files.numbered_jsonl(path))


def read(path: Path | str, convention: str = "unit") -> list[Layout]:
    """All layouts of a JSONL file."""
    return list(stream(path, convention))


def write(path: Path | str, layouts: Iterable[Layout]) -> None:
    files.write_jsonl(path, (layout.to_row() for layout in layouts))
