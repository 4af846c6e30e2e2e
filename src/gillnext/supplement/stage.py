"""Tells of the supplement's systems: tables, figures and one PDF.

    gillnext supplement --config config.yaml --record results/demo/supplement --source paper \\
        --out results/demo/supplement/supplement.pdf

Reads converse.json, shown.zip and the costs of the jobs (benchmarks/ or jobs.parquet) of the folder `--record`; writes
the PDF, and beside it `tables/` (CSV, LaTeX, JSON) and `figures/` (SVG, PNG).
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

from gillnext.config import Config, arguments
from gillnext.paper import style
from gillnext.paper.stage import compile_pdf
from gillnext.record import jobs
from gillnext.record.results import made_on, there
from gillnext.runtime import files
from gillnext.supplement import figures, gill
from gillnext.supplement.illustrate import Shown
from gillnext.tables.cost import rules_table
from gillnext.tables.table import write

MAIN = "supplement.typ"


def draw(scores: dict[str, Any], shown: Shown, folder: Path) -> dict[str, str]:
    """Draw the figures into `folder`; returns their captions by name."""
    style.use()
    captions = {}
    for name, drawn in (("stories", figures.stories(shown)), ("context", figures.context(scores))):
        if drawn:
            (folder / name).mkdir(parents=True)
            style.save(drawn[0], folder / name, name)
            captions[name] = drawn[1]
    return captions


def supplement(config: Config, record: Path, source: Path, out: Path) -> None:
    """Write the PDF `out`, and `tables` and `figures` beside it."""
    scores = files.read_json(there(record / "converse.json", "converse"))
    kept = record / jobs.NAME
    cost = rules_table(jobs.read(kept if kept.exists() else record / "benchmarks"), made_on(scores["provenance"]))
    tables = [*gill.tables(scores), cost]
    numbers = gill.numbers(scores) | {"tier": config.run.tier, "machine": made_on(scores["provenance"])}
    numbers |= {"gill.images": str(config.gill.images), "gill.steps": f"{config.gill.steps:,}"}
    build = out.with_name(out.name + ".work")
    shutil.rmtree(build, ignore_errors=True)
    try:
        shutil.copytree(source, build)
        write(build / "data/tables", tables)
        files.write_json(build / "data/tables/index.json", [table.name for table in tables])
        captions = draw(scores, Shown(there(record / "shown.zip", "illustrate")), build / "data/figures")
        files.write_json(build / "data/captions.json", captions)
        files.write_json(build / "data/numbers.json", numbers)
        pdf = compile_pdf(build, source, MAIN)
        for part in ("tables", "figures"):
            with files.atomic(out.parent / part) as folder:
                shutil.copytree(build / "data" / part, folder)
    finally:
        shutil.rmtree(build, ignore_errors=True)
    with files.atomic(out) as temporary:
        temporary.write_bytes(pdf)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.add_config(parser)
    parser.add_argument("--record", type=Path, required=True, metavar="FOLDER", help="scores and pictures of a run")
    parser.add_argument("--source", type=Path, default=Path("paper"), metavar="FOLDER", help="the Typst source")
    arguments.add_out(parser, "the PDF")


def main(args: argparse.Namespace) -> None:
    supplement(arguments.config(args), args.record, args.source, args.out)
    print(args.out)
