"""Held-out layouts with their phrases swapped between boxes: is it the phrase that decides what stands in a box?

gillnext swap --layouts results/demo/world/heldout/test.jsonl --out results/demo/world/heldout/swapped.jsonl
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gillnext import layouts
from gillnext.config.arguments import add_out
from gillnext.layouts import Layout


def swapped(rows: Sequence[Layout]) -> list[Layout]:
    """The layouts of two objects or more with each name moved to the next box; caption and boxes stay."""
    several = [row for row in rows if len(row.names) > 1]
    return [replace(row, names=(*row.names[1:], row.names[0]), id=row.id.replace("test", "swapped")) for row in several]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--layouts", type=Path, required=True, metavar="JSONL", help="the layouts to swap in")
    add_out(parser, "layouts, JSON lines")


def main(args: argparse.Namespace) -> None:
    layouts.write(args.out, swapped(layouts.read(args.layouts)))
