"""Draws the paper's figures from score files, curves and samples.

    gillnext figures --config config.yaml --results results/demo --out results/demo/figures

Writes {samples,arms,following,gradients,losses,memory,step,breakdown,classes,failures,fid}.{svg,png} and
`captions.json` ({name: caption}). A figure is left out where the run holds nothing for it. The same inputs give the
same bytes."""

from __future__ import annotations

import argparse
from pathlib import Path

from gillnext.config import Config, arguments
from gillnext.paper import arms, curves, failures, fid, gradients, grid, parts, style
from gillnext.record.results import Results
from gillnext.runtime import files

FIGURES = {
    "samples": grid.samples,
    "arms": arms.arms,
    "following": curves.following,
    "gradients": gradients.gradients,
    "losses": curves.losses,
    "memory": curves.memory,
    "step": curves.step,
    "breakdown": parts.breakdown,
    "classes": parts.classes,
    "failures": failures.failures,
    "fid": fid.fid,
}


def figures(config: Config, root: Path, out: Path) -> dict[str, str]:
    """Draw every figure into the folder `out`; returns name → caption."""
    results, captions = Results(root, config), {}
    style.use()
    with files.atomic(out) as folder:
        folder.mkdir()
        for name, draw in FIGURES.items():
            caption = draw(results, folder)
            if caption is not None:
                captions[name] = caption
        files.write_json(folder / "captions.json", captions)
    return captions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.add_config(parser)
    parser.add_argument("--results", type=Path, required=True, metavar="FOLDER", help="results/{tier}")
    arguments.add_out(parser, "folder of the figures")


def main(args: argparse.Namespace) -> None:
    figures(arguments.config(args), args.results, args.out)
    print(args.out)
