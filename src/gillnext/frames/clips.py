"""Clips and their instructions, as a user has them in a folder.

Two forms, told apart by the file that is there:

- `metadata.json`: a list of `{"video_path": FOLDER, "instruction": TEXT}`; the folder of a clip has `00.jpg`, `01.jpg`,
  …, one more than the frames that are read, and the last is the target.
- `metadata.jsonl`: a row a pair of pictures, `{"file_name", "input_image", "edit_prompt", "edited_image"}`, as data
  sets of single pictures have it; `file_name` stands in where there is no `input_image`.

Paths are relative to the file. All that is wrong with a clip is told with clip and frame.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from PIL import Image, ImageOps

from gillnext.runtime import files
from gillnext.runtime.errors import UserError

CLIPS, PAIRS = "metadata.json", "metadata.jsonl"
FORM = '[{"video_path": "FOLDER", "instruction": "TEXT"}, …]'
PAIR = '{"file_name": "…", "input_image": "…", "edit_prompt": "…", "edited_image": "…"}'
SMALLEST = 16  # pixels a side of a frame


@dataclass(frozen=True)
class Clip:
    """A clip of a folder: its name, the paths of frames and target in that folder, and what is to be done."""

    name: str
    frames: tuple[str, ...]
    target: str
    instruction: str


def broken(what: str, clip: str, frame: str = "", remedy: str = "mend the clip, or frames.broken: drop") -> UserError:
    """What is wrong with a clip, or with a frame of it."""
    return UserError(what, where=f"clip {clip}" + (f", frame {frame}" if frame else ""), remedy=remedy)


def _refuse(what: str, where: str, form: str) -> NoReturn:
    raise UserError(what, where=where, remedy=f"write it as {form}")


def _text(row: Any, key: str, where: str, form: str) -> str:
    if not isinstance(row, dict):
        _refuse(f"{row!r:.60} is no object", where, form)
    value = row.get(key)
    if not isinstance(value, str) or not files.is_text(value):
        _refuse(f"{key!r} is {value!r:.60} and not text" if key in row else f"{key!r} is missing", where, form)
    return value


def _inside(path: str, where: str) -> str:
    """`path`, unless it leads out of the folder."""
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts:
        raise UserError(f"{path!r} leads out of the folder", where=where, remedy="name paths relative to the file")
    return parts.as_posix()


def _clips(path: Path) -> Iterator[tuple[str, str]]:
    """Folder and instruction of each row of `metadata.json`."""
    rows = files.read_json(path)
    if not isinstance(rows, list):
        _refuse("it is no list", str(path), FORM)
    seen: dict[str, int] = {}
    for n, row in enumerate(rows):
        where = f"{path}, row {n}"
        folder = _inside(_text(row, "video_path", where, FORM), where)
        if folder in seen:
            _refuse(f"{folder!r} stands in row {seen[folder]} too", where, "one row a clip")
        seen[folder] = n
        yield folder, _text(row, "instruction", where, FORM)


def _frames(folder: Path, name: str, count: int) -> Clip:
    """The clip's files, without its instruction; `UserError` unless frames 0 to `count` are there, and no others."""
    place = folder / name
    if not place.is_dir():
        raise broken("no such folder", name)
    found = sorted((int(file.stem), file.name) for file in place.glob("*.jpg") if file.stem.isdecimal())
    numbers = [number for number, _ in found]
    if missing := [k for k in range(count + 1) if k not in numbers]:
        what = f"it has {len(found)} frames and not {count + 1}"
        raise broken(f"the frame is missing; {what}", name, f"{missing[0]:02d}.jpg")
    if len(found) != count + 1:
        raise broken(f"it has {len(found)} frames and not {count + 1}", name, found[count + 1][1])
    paths = [f"{name}/{file}" for _, file in found]
    return Clip(name, tuple(paths[:-1]), paths[-1], "")


def read(folder: Path, count: int, drop: Callable[[UserError], None] | None = None) -> Iterator[Clip]:
    """The clips of a folder, of `count` frames and the target; no picture is opened.

    What is wrong with a clip raises, or is handed to `drop`, and the clip is left out. What is wrong with the file
    itself raises.
    """
    if (folder / CLIPS).is_file():
        for name, instruction in _clips(folder / CLIPS):
            try:
                clip = _frames(folder, name, count)
            except UserError as error:
                if drop is None:
                    raise
                drop(error)
                continue
            yield Clip(name, clip.frames, clip.target, instruction)
    elif (folder / PAIRS).is_file():
        if count != 1:
            what = f"{PAIRS} has single frames, and {count} are asked for"
            raise UserError(what, where=str(folder), remedy=f"frames.count: 1, or clips with {CLIPS}")
        for n, row in files.numbered_jsonl(folder / PAIRS):
            where = f"{folder / PAIRS}, line {n}"
            key = "input_image" if isinstance(row, dict) and row.get("input_image") else "file_name"
            source, target = (_inside(_text(row, name, where, PAIR), where) for name in (key, "edited_image"))
            yield Clip(source, (source,), target, _text(row, "edit_prompt", where, PAIR))
    else:
        raise UserError(f"neither {CLIPS} nor {PAIRS}", where=str(folder), remedy="name the folder of a split of clips")


def picture(path: Path, clip: str) -> Image.Image:
    """A frame, upright, in RGB; `UserError` with clip and frame where it cannot be read."""
    try:
        with Image.open(io.BytesIO(path.read_bytes())) as image:
            return ImageOps.exif_transpose(image).convert("RGB")
    except FileNotFoundError as error:
        raise broken("the frame is missing", clip, path.name) from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise broken(f"the picture cannot be read: {error}", clip, path.name) from error


def pictures(folder: Path, clip: Clip) -> list[Image.Image]:
    """Frames and target, all of one size; `UserError` with clip and frame where they are not."""
    found: list[Image.Image] = []
    for path in (*clip.frames, clip.target):
        image, frame = picture(folder / path, clip.name), Path(path).name
        if min(image.size) < SMALLEST:
            raise broken(f"{image.size[0]}×{image.size[1]} pixels are too few", clip.name, frame)
        if found and image.size != found[0].size:
            sizes = [f"{one.size[0]}×{one.size[1]}" for one in (image, found[0])]
            raise broken(f"it has {sizes[0]} pixels, the first frame {sizes[1]}", clip.name, frame)
        found.append(image)
    return found
