"""Keeps the pictures of edits that the supplement shows: the first of each kind, nothing picked by how it came out.

    gillnext region_pictures --edits S/edits/test --edited S/edited --edited-by-base S/edited_by_base --out regions.zip

The archive has edits.json (file, prompts, true box, and of every way its box and anchors) and pictures, source/NAME.png
and INPAINTING/WAY/NAME.png.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gillnext.regions.shown import REGIONS
from gillnext.runtime import files, picture_archive
from gillnext.runtime.picture_archive import PictureArchive

COUNT = 3  # of each kind
WAYS = ("learned", "random", "centre", "whole", "true")
EDITS = "edits.json"


def write(edits: Path, edited: Mapping[str, Path], out: Path) -> None:
    """Write the archive `out` of the edits in `edits` and the folders that `gillnext regions` wrote of them."""
    truth, seen = list(files.read_jsonl(edits / "truth.jsonl")), Counter[str]()
    told = files.read_json(edits / "images.json")
    rows = {name: {row["file"]: row for row in files.read_jsonl(folder / REGIONS)} for name, folder in edited.items()}
    content, entries = list[dict[str, Any]](), dict[str, Path]()
    for row in truth:
        seen[row["kind"]] += 1
        if seen[row["kind"]] > COUNT:
            continue
        file, ways = row["file"], dict[str, Any]()
        entries[f"source/{file}"] = edits / "images" / file
        for name, folder in edited.items():
            own = rows[name][file]
            for way in (way for way in WAYS if way in own["ways"]):
                seed, choice = next(iter(own["ways"][way].items()))
                ways[f"{name}/{way}"] = {"box": choice["box"], "anchors": choice.get("anchors", [])}
                entries[f"{name}/{way}/{file}"] = folder / way / seed / f"{own['name']}.png"
        content.append({**row, "prompts": told[file], "ways": ways})
    about = json.dumps(content, ensure_ascii=False, sort_keys=True)
    pictures = ((name, path.read_bytes()) for name, path in entries.items())
    picture_archive.write(out, itertools.chain([(EDITS, about)], pictures))


class Shown(PictureArchive):
    """The archive, open."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.rows: list[dict[str, Any]] = self.json(EDITS)


def add_edited(parser: argparse.ArgumentParser) -> None:
    """The options that name edits, and what was made of them."""
    parser.add_argument("--edits", type=Path, required=True, metavar="FOLDER", help="a split of `gillnext edits`")
    parser.add_argument("--edited", type=Path, required=True, metavar="FOLDER", help="by the UNet of 9 channels")
    parser.add_argument("--edited-by-base", type=Path, metavar="FOLDER", help="by the base's own 4 channels")


def edited(args: argparse.Namespace) -> dict[str, Path]:
    """The folders that these options name, by how boxes were filled."""
    return {"filled": args.edited} | ({"kept": args.edited_by_base} if args.edited_by_base else {})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_edited(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="ZIP", help="the archive")


def main(args: argparse.Namespace) -> None:
    write(args.edits, edited(args), args.out)
