"""Draws one of the paper's figures from a run's record.

    gillnext figure following --config config.yaml --results results/demo --out results/demo/figures/following

Writes NAME.svg, NAME.png and `caption.txt` into a folder, which is empty where the run holds nothing for the figure.
The same inputs give the same bytes. A figure is a file of `gillnext.paper.figures`."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
from pathlib import Path

from gillnext.config import Config, arguments
from gillnext.paper import figures, style
from gillnext.record.results import Results
from gillnext.runtime import files

NAMES = sorted(module.name for module in pkgutil.iter_modules(figures.__path__))


def figure(name: str, config: Config, root: Path, out: Path) -> None:
    """Draw a figure of the record in `root` into the folder `out`."""
    style.use()
    drawn = importlib.import_module(f"{figures.__name__}.{name}").draw(Results(root, config))
    with files.atomic(out) as folder:
        folder.mkdir()
        if drawn is not None:
            style.save(drawn[0], folder, name)
            files.write_text(folder / "caption.txt", drawn[1])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", choices=NAMES, help="which figure")
    arguments.add_config(parser)
    parser.add_argument("--results", type=Path, required=True, metavar="FOLDER", help="results/{tier}, or a kept run")
    arguments.add_out(parser, "folder of the figure")


def main(args: argparse.Namespace) -> None:
    figure(args.name, arguments.config(args), args.results, args.out)
    print(args.out)
