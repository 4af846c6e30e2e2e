"""Held-out layouts from a published benchmark's file: OverLayBench's form, or COCO's (`forms` tells both).

    gillnext heldout-from hard-00000-of-00001.parquet --form overlaybench --train results/wukong/split/train/*.jsonl \\
        --config config.yaml config/wukong.yaml --out results/wukong/heldout/overlaybench-hard
    gillnext heldout-from instances_val2017.json --form coco --captions captions_val2017.json --out …

The folder has test.jsonl, for `gillnext sample --layouts`; names.txt, the names that an evaluator must know;
prior.safetensors with --train, for `gillnext score --prior`: boxes drawn from these layouts; and counts.json, what was
left out by reason. Names are the file's own categories, in the file's language. The workflow draws, scores and tables
the folder that the setting `split.published` names.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gillnext import layouts
from gillnext.config import Config
from gillnext.config.arguments import add_config, add_out
from gillnext.config.arguments import config as read_config
from gillnext.layouts import Layout
from gillnext.runtime import files
from gillnext.runtime.errors import UserError
from gillnext.split import forms, prior

FORMS = ("overlaybench", "coco")


def read(source: Path, form: str, captions: Path | None, counts: Counter[str]) -> list[Layout]:
    """The layouts of a file of one of `FORMS`; `UserError` where there is none, or an id comes twice."""
    found = list(forms.coco(source, counts, captions) if form == "coco" else forms.overlaybench(source, counts))
    if not found:
        remedy = "name the captions' file too: --captions" if form == "coco" and not captions else "name another file"
        raise UserError(f"holds no layout: {dict(counts)}", where=str(source), remedy=remedy)
    twice = [key for key, n in Counter(row.id for row in found).items() if n > 1]
    if twice:
        raise UserError(f"image {twice[0]!r} comes twice", where=str(source), remedy="keep one row an image")
    return found


def prior_from(train: Sequence[Path], held_out: Sequence[Layout], seed: int, out: Path) -> dict[str, int]:
    """Write boxes of the chance level, drawn from the layouts of `train`; returns what `prior.Drawn.instead` tells."""
    count_N = np.array([len(row.names) for path in train for row in layouts.read(path)], dtype=np.uint16)
    if not count_N.any():
        raise UserError("no boxes to draw from", where=", ".join(map(str, train)), remedy="name training layouts")
    drawn = prior.draw(count_N, len(held_out), max(len(row.names) for row in held_out), seed)
    needed = drawn.rows
    rows = enumerate(row for path in train for row in layouts.read(path))
    prior.save(out, drawn.boxes({n: np.array(row.boxes) for n, row in rows if n in needed}))
    return drawn.instead(len(row.names) for row in held_out)


def convert(
    config: Config, source: Path, form: str, out: Path, captions: Path | None = None, train: Sequence[Path] = ()
) -> dict[str, Any]:
    """Write the folder `out` of held-out layouts; returns the counts."""
    left_out = Counter[str]()
    found = read(source, form, captions, left_out)
    names = Counter(name for row in found for name in row.names)
    counts = {"layouts": len(found), "boxes": names.total(), "names": len(names), "left_out": dict(left_out)}
    with files.atomic(out) as temporary:
        temporary.mkdir()
        layouts.write(temporary / "test.jsonl", found)
        order = sorted(names, key=lambda name: (-names[name], name))
        files.write_text(temporary / "names.txt", "".join(f"{name}\n" for name in order))
        if train:
            counts["prior_nearest"] = prior_from(train, found, config.run.seed, temporary / "prior.safetensors")
        files.write_json(temporary / "counts.json", counts)
    return counts


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("source", type=Path, metavar="FILE", help="JSON, JSON lines or Parquet")
    parser.add_argument("--form", choices=FORMS, required=True, help="whose form the file has")
    parser.add_argument("--captions", type=Path, metavar="FILE", help="of COCO: the captions of the same images")
    parser.add_argument(
        "--train", type=Path, nargs="+", default=[], metavar="JSONL", help="layouts that the chance level is drawn from"
    )
    add_out(parser, "folder of the held-out layouts")


def main(args: argparse.Namespace) -> None:
    counts = convert(read_config(args), args.source, args.form, args.out, args.captions, args.train)
    print(f"heldout-from: {counts['layouts']} layouts, {counts['boxes']} boxes of {counts['names']} names")
    print(f"heldout-from: left out: {counts['left_out']}")
