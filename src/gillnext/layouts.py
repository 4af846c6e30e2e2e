"""Layouts: a caption with its objects and boxes, as JSON lines (`image_path, caption, objects: [{name, bbox}]`)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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


def from_row(row: dict[str, Any], where: str, convention: str = "unit") -> Layout:
    """A checked `Layout` from one JSON row; errors name `where` (file and line)."""
    try:
        caption, objects = row["caption"], row["objects"]
        names = tuple(str(o["name"]) for o in objects)
        raw = [o["bbox"] for o in objects]
    except (KeyError, TypeError) as error:
        raise UserError(
            f"row lacks or misuses {error}",
            where=where,
            remedy='rows need "caption" and "objects": [{"name": …, "bbox": [x1, y1, x2, y2]}]',
        ) from error
    unit = boxes.to_unit(raw, convention, where=where, names=names)
    known = {"id", "image_path", "caption", "objects"}
    extra = {k: v for k, v in row.items() if k not in known}
    return Layout(caption, names, tuple(unit), str(row.get("id", "")), str(row.get("image_path", "")), extra)


def read(path: Path | str, convention: str = "unit") -> list[Layout]:
    """All layouts of a JSONL file, each checked; the first bad row raises with its line number."""
    return [from_row(row, f"{path}, line {n}", convention) for n, row in files.numbered_jsonl(path)]


def write(path: Path | str, layouts: Iterable[Layout]) -> None:
    files.write_jsonl(path, (layout.to_row() for layout in layouts))
