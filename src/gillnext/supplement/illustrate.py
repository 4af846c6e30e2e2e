"""Keep the pictures that the supplement shows of GILL: some test conversations, and what was drawn of them.

    gillnext illustrate --conversations S/conversations/test.jsonl --pictures S/pictures --out S/gill.zip

The first conversations of each kind are shown: nothing is picked by how it came out. The archive has
conversations.json, their turns' pictures, and of every way that is shown its picture and boxes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gillnext import conversations, layouts
from gillnext.conversations import Conversation
from gillnext.layouts import Layout
from gillnext.runtime import picture_archive
from gillnext.runtime.errors import UserError
from gillnext.runtime.picture_archive import PictureArchive

COUNT = 4  # conversations of a kind
WAYS = ("caption", "last", "gill-pictures", "next")
ROWS, BOXES = "conversations.json", "boxes.json"


def write(test: Path, pictures: Path, out: Path) -> None:
    """Write the archive `out`; `UserError` where a picture is not there."""
    rows = conversations.read(test)
    first = {kind: [i for i, row in enumerate(rows) if row.kind == kind][:COUNT] for kind in ("story", "dialogue")}
    chosen = [i for indices in first.values() for i in indices]
    given = {way: layouts.read(pictures / way / "layouts.jsonl") for way in WAYS}
    boxes = {way: {rows[i].id: given[way][i].to_row() for i in chosen} for way in WAYS}
    found = {turn.picture: test.parent / turn.picture for i in chosen for turn in rows[i].turns if turn.picture}
    found |= {f"{way}/{rows[i].id}.png": pictures / way / f"{i:05d}.png" for way in WAYS for i in chosen}

    def entries() -> Iterator[tuple[str, str | bytes]]:
        for name, content in ((ROWS, [rows[i].to_row() for i in chosen]), (BOXES, boxes)):
            yield name, json.dumps(content, ensure_ascii=False)
        for name, path in found.items():
            if not path.is_file():
                raise UserError("no such picture", where=str(path), remedy="run `gillnext respond` again")
            yield name, path.read_bytes()

    picture_archive.write(out, entries())


class Shown(PictureArchive):
    """The archive, open: conversations, their turns' pictures by path, and each way's picture and boxes."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.rows: list[Conversation] = [conversations.from_row(row, f"{path}: {ROWS}") for row in self.json(ROWS)]
        self.boxes: dict[str, dict[str, Any]] = self.json(BOXES)

    def drawn(self, way: str, row: Conversation) -> tuple[np.ndarray, Layout]:
        """What a way drew of a conversation, and the boxes that it was given, or the true ones."""
        layout = layouts.from_row(self.boxes[way][row.id], f"{BOXES}, {way}, {row.id}")
        return self.image(f"{way}/{row.id}.png"), layout


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--conversations", type=Path, required=True, metavar="JSONL", help="the test conversations")
    parser.add_argument("--pictures", type=Path, required=True, metavar="FOLDER", help="of `gillnext respond`")
    parser.add_argument("--out", type=Path, required=True, metavar="ZIP", help="the archive")


def main(args: argparse.Namespace) -> None:
    write(args.conversations, args.pictures, args.out)
