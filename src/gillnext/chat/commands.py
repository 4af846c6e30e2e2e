"""What a person types in `gillnext chat`, and what a script says, as turns.

一只猫在左边。             a turn of text
/图 PATH [text]           a picture, and what is said of it        (/image)
/画 [text]                draw now                                 (/draw)
/找 [text]                find now                                 (/find)
/框 {"猫": [x1,y1,x2,y2]} [text]   draw in these boxes             (/boxes)
/帮助, /退出               this help; the end                       (/help, /quit)
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gillnext import conversations, layouts
from gillnext.chat.session import Want
from gillnext.layouts import Layout
from gillnext.runtime import files
from gillnext.runtime.errors import UserError

HELP = "\n".join(line.strip() for line in (__doc__ or "").split("\n\n")[1].splitlines())
NAMES = {
    "图": "image", "画": "draw", "找": "find", "框": "boxes", "帮助": "help", "退出": "quit", "image": "image",
    "draw": "draw", "find": "find", "boxes": "boxes", "help": "help", "quit": "quit",
}  # fmt: skip


@dataclass(frozen=True)
class Said:
    """One turn as it was asked for."""

    text: str = ""
    picture: Path | None = None
    boxes: Layout | None = None
    want: Want | None = None  # None: as is usual


def parse(line: str) -> Said | str:
    """The turn of a line, or "help" or "quit"; `UserError` that tells what is wrong with the line."""
    line = line.strip()
    if not line.startswith("/"):
        if not line:
            raise UserError("nothing was said", where="an empty line", remedy="type a sentence, or /帮助 for help")
        return Said(line)
    word, _, rest = line[1:].partition(" ")
    command, rest = NAMES.get(word.lower(), ""), rest.strip()
    if command in ("help", "quit"):
        return command
    if command == "image":
        return _image(rest)
    if command == "boxes":
        return _boxes(rest)
    if command:
        return Said(rest, want="draw" if command == "draw" else "find")
    raise UserError(f"no command is called /{word}", where="the line", remedy="/帮助 lists them")


def _image(rest: str) -> Said:
    """A path, in quotes where it has blanks, and the text after it."""
    found = re.match(r"""\s*(?:"([^"]+)"|'([^']+)'|(\S+))""", rest)
    if not found:
        raise UserError("no picture is named", where="/图", remedy='/图 PATH, or /图 "PATH with blanks" and a text')
    path = next(part for part in found.groups() if part)
    return Said(rest[found.end() :].strip(), picture=Path(path).expanduser())


def boxes_of(value: Any, where: str) -> Layout:
    """A layout of {"name": [x1, y1, x2, y2], …} in fractions of the picture, or {"name": [[…], […]]}, or a list of
    {"name", "bbox"}.
    """
    if isinstance(value, dict):
        value = [
            {"name": name, "bbox": box}
            for name, found in value.items()
            for box in (found if isinstance(found, list) and found and isinstance(found[0], list) else [found])
        ]
    return layouts.from_row({"caption": "…", "objects": value}, where)


def _boxes(rest: str) -> Said:
    try:
        value, end = json.JSONDecoder(object_pairs_hook=files.unique).raw_decode(rest)
    except (ValueError, RecursionError) as error:
        remedy = '/框 {"猫": [0.1, 0.3, 0.5, 0.8]}: left, top, right, bottom, from 0 to 1'
        raise UserError(f"no boxes: {error}", where="/框", remedy=remedy) from error
    return Said(rest[end:].strip(), boxes=boxes_of(value, "/框"), want="draw")


WANTS: dict[str, Want] = {"draw": "draw", "find": "find", "none": "none", "decided": "decided"}


def script(path: Path) -> Iterator[tuple[str, list[Said]]]:
    """The dialogues of a script, each with a name for its folder: one object of turns as JSON, or a line each as JSONL.

    Turns are those of `conversations`, and may have "boxes" and "want": draw, find, none or decided. `UserError` names
    file, line and turn.
    """
    rows = files.numbered_jsonl(path) if path.suffix == ".jsonl" else iter([(1, files.read_json(path))])
    for number, row in rows:
        where = f"{path}, line {number}" if path.suffix == ".jsonl" else str(path)
        read = conversations.from_row(row, where)
        said = []
        for n, (turn, told) in enumerate(zip(read.turns, row["turns"], strict=True), 1):
            place = f"{where}, turn {n}"
            want = told.get("want")
            if want is not None and want not in WANTS:
                raise UserError(f"'want' is {want!r:.40}", where=place, remedy=f"one of {', '.join(WANTS)}")
            boxes = boxes_of(told["boxes"], place) if "boxes" in told else None
            picture = path.parent / turn.picture if turn.picture else None
            said.append(Said(turn.text, picture, boxes, WANTS.get(want)))
        yield (read.id if re.fullmatch(r"\w[\w.-]*", read.id) else f"{number:05d}"), said
