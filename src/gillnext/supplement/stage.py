"""Tells of the supplement's systems: tables, figures and one PDF.

    gillnext supplement --config config.yaml --record results/demo/supplement --source paper \\
        --out results/demo/supplement/supplement.pdf

Reads of the folder `--record` the scores and pictures of each part that the settings name (`supplement.parts`), and
the costs of the jobs (benchmarks/ or jobs.parquet); writes the PDF, and beside it `tables/` (CSV, LaTeX, JSON) and
`figures/` (SVG, PNG).
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
from pathlib import Path
from typing import Any

from gillnext.config import Config, arguments
from gillnext.paper import style
from gillnext.paper.stage import compile_pdf
from gillnext.paper.style import Drawn
from gillnext.record import jobs
from gillnext.record.results import made_on, there
from gillnext.runtime import files
from gillnext.supplement.parts import PARTS
from gillnext.tables.cost import rules_table
from gillnext.tables.table import Table, write

MAIN = "supplement.typ"


def settings(section: Any, prefix: str) -> dict[str, str]:
    """The numbers among a section's settings, as its text quotes them: `gill.settings.steps`, 1,200."""
    found: dict[str, str] = {}
    for field in dataclasses.fields(section):
        value = getattr(section, field.name)
        if dataclasses.is_dataclass(value):
            found |= settings(value, f"{prefix}.{field.name}")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            found[f"{prefix}.{field.name}"] = f"{value:,}"
    return found


class Told:
    """What a run's parts say: tables, numbers, figures, each name once."""

    def __init__(self, config: Config, record: Path) -> None:
        self.parts = config.supplement.parts
        self.tables: list[Table] = []
        self.figures: dict[str, Drawn] = {}
        self.numbers = {"tier": config.run.tier, "parts": " ".join(self.parts)}
        style.use()
        for name in self.parts:
            part = PARTS[name]
            scores = files.read_json(there(record / f"{name}.json", part.command))
            further = {path.stem.removeprefix(f"{name}-"): path for path in sorted(record.glob(f"{name}-*.json"))}
            scores["variants"] = {key: files.read_json(path) for key, path in further.items()}
            self.numbers["machine"] = made_on(scores["provenance"])
            self.tables += part.tables(scores)
            drawn = part.figures(scores, there(record / f"{name}.zip", part.command))
            self.figures |= {key: figure for key, figure in drawn.items() if figure}
            self.numbers |= part.numbers(scores) | settings(getattr(config, name), f"{name}.settings")


def lay_out(told: Told, data: Path) -> None:
    """Write what the Typst source reads: tables, figures, captions and numbers."""
    write(data / "tables", told.tables)
    files.write_json(data / "tables/index.json", [table.name for table in told.tables])
    for name, (figure, _) in told.figures.items():
        (data / "figures" / name).mkdir(parents=True)
        style.save(figure, data / "figures" / name, name)
    (data / "figures").mkdir(exist_ok=True)
    files.write_json(data / "captions.json", {name: caption for name, (_, caption) in told.figures.items()})
    files.write_json(data / "numbers.json", told.numbers)


def supplement(config: Config, record: Path, source: Path, out: Path) -> None:
    """Write the PDF `out`, and `tables` and `figures` beside it."""
    told, kept = Told(config, record), record / jobs.NAME
    told.tables.append(
        rules_table(jobs.read(kept if kept.exists() else record / "benchmarks"), told.numbers["machine"])
    )
    build = out.with_name(out.name + ".work")
    shutil.rmtree(build, ignore_errors=True)
    try:
        shutil.copytree(source, build)
        lay_out(told, build / "data")
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
