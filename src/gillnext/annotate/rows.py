"""The rows to annotate: a JSONL index (`image_path`, `caption`, …) or a TSV of image file names and captions.

A relative path is looked for in the folder `--images` where that is given, else in the working directory.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from gillnext.runtime import files
from gillnext.runtime.errors import UserError

CARRIED = ("spatial_type", "url", "shard", "row")  # index keys that layouts keep
MISSING = "image missing"
OUT_OF_MEMORY = "out of memory at batch 1"


@dataclass(frozen=True)
class Row:
    """One image with its caption; `path` is where it lies, as an absolute path: an actor may run in another folder;
    `image_path` is what the index calls it.
    """

    path: Path
    image_path: str
    caption: str
    sha256: str = ""
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Names the row in the journal: the same picture with the same caption has the same answer."""
        text = json.dumps([self.image_path, self.caption, self.sha256], ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:24]


def read_index(index: Path, images: Path | None = None) -> list[Row]:
    """The rows of a JSONL index; a row without image or caption raises `UserError` with its line."""
    if not index.is_file():
        raise UserError("no such index", where=str(index), remedy="run `gillnext download` first, or name another")
    rows = []
    for number, row in files.numbered_jsonl(index):
        where = f"{index}, line {number}"
        if not isinstance(row, dict) or not all(files.is_text(row.get(key)) for key in ("image_path", "caption")):
            raise UserError(
                'needs the texts "image_path" and "caption"', where=where, remedy="correct or delete the row"
            )
        path = (images or Path()) / row["image_path"]
        extra = {k: row[k] for k in CARRIED if k in row}
        rows.append(Row(path.absolute(), row["image_path"], row["caption"], str(row.get("sha256") or ""), extra))
    return rows


def read_tsv(table: Path, images: Path) -> list[Row]:
    """The rows of a UTF-8 table without header: image file name, tab, caption; lines end with a newline alone."""
    rows = []
    if not table.is_file():
        raise UserError("no such table", where=str(table), remedy="name a TSV of file names and captions")
    for number, text in files.numbered_lines(table, "save it as UTF-8"):
        if not text.strip():
            continue
        name, tab, caption = text.partition("\t")
        if not (name.strip() and tab and caption.strip()):
            raise UserError(
                "needs an image file name, a tab and a caption", where=f"{table}, line {number}",
                remedy="correct or delete the line",
            )  # fmt: skip
        path = images / name.strip()
        rows.append(Row(path.absolute(), str(path), caption.strip()))
    if not rows:
        raise UserError("no rows in it", where=str(table), remedy="write lines of image file name, tab, caption")
    return rows


def shrink(image: Image.Image, longest: int | None) -> Image.Image:
    """The image with its longest side at most `longest` pixels (None: any); boxes are fractions, so they hold."""
    if longest is None or max(image.size) <= longest:
        return image
    scale = longest / max(image.size)
    size = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))
    return image.resize(size, Image.Resampling.BICUBIC)


def read_image(path: Path, longest: int | None = None) -> Image.Image | str:
    """The picture in RGB, turned as its EXIF data says and shrunk to `longest` pixels, or why there is none."""
    try:
        with Image.open(path) as image:
            return shrink(ImageOps.exif_transpose(image).convert("RGB"), longest)
    except FileNotFoundError:
        return MISSING
    except MemoryError:
        return OUT_OF_MEMORY
    except Exception as error:  # whatever a decoder makes of a broken file: it is one row's, not the job's
        if isinstance(error, OSError) and error.errno:  # but what the file system says is no fault of the picture's
            remedy = "mend the file system, or the file's rights, and give the same command again"
            raise UserError(f"cannot be read: {error.strerror}", where=str(path), remedy=remedy) from error
        return "unreadable image"
