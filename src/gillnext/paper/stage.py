"""Typesets the paper with Typst; a number, table or figure that is missing stops the build and is named.

    gillnext paper --results results/demo --source paper --out results/demo/paper/paper.pdf

Reads `tables/`, `cost/`, `claims/` and `figures/` of the results folder. They are copied with the Typst
source into one folder beside the output, which Typst gets as its root, so that no path of this machine
enters the document."""

from __future__ import annotations

import argparse
import re
import shutil
from pathlib import Path

import typst

from gillnext.config import Config, arguments
from gillnext.paper.style import font_folder
from gillnext.runtime import files
from gillnext.runtime.errors import UserError

PARTS = {"tables": "tables", "cost": "cost", "claims": "claims", "figures": "figure NAME"}  # folder → command
MISSING = re.compile(r"missing (number|figure): ([\w.\-]+)")


def _collect(root: Path, source: Path, build: Path) -> None:
    """Copy the Typst source and the run's data into `build`."""
    if not (source / "paper.typ").exists():
        raise UserError("no paper.typ here", where=str(source), remedy="name the folder of the Typst source")
    shutil.copytree(source, build)
    for folder, command in PARTS.items():
        if not (root / folder).is_dir():
            raise UserError("no such folder", where=str(root / folder), remedy=f"make it with `gillnext {command}`")
        shutil.copytree(root / folder, build / "data" / folder)
    captions = sorted((build / "data" / "figures").glob("*/caption.txt"))
    files.write_json(build / "data" / "captions.json", {path.parent.name: path.read_text("utf-8") for path in captions})
    shutil.copy(build / "data" / "claims" / "claims.json", build / "data" / "claims.json")
    shutil.copy(build / "data" / "tables" / "numbers.json", build / "data" / "numbers.json")


def _explain(error: typst.TypstError, main: Path) -> UserError:
    """Typst's error as one that a user can act on; a missing key is named."""
    message = str(error.message)
    if found := MISSING.search(message):
        kind, key = found.groups()
        where = "tables/numbers.json" if kind == "number" else f"figures/{key}"
        return UserError(
            f"the paper quotes the {kind} {key!r}, which the results do not hold",
            where=where,
            remedy=f"make the results that it comes from, or take the {kind} out of {main}",
        )
    return UserError(
        f"Typst: {message}",
        where=str(main),
        remedy="; ".join(error.hints) or "see the place below\n" + str(error.diagnostic),
    )


def compile_pdf(build: Path, source: Path, main: str = "paper.typ") -> bytes:
    """`main` of the folder `build`, which is copied from `source`, as PDF bytes, with the embedded Latin fonts and Noto
    CJK only, and no date.
    """
    fonts = typst.Fonts(include_system_fonts=False, include_embedded_fonts=True, font_paths=[font_folder()])
    try:
        pdf = typst.compile(build / main, root=build, font_paths=fonts, format="pdf", timestamp=0)
    except typst.TypstError as error:
        raise _explain(error, source / main) from error
    assert isinstance(pdf, bytes)
    return pdf


def paper(config: Config, root: Path, source: Path, out: Path) -> Path:
    """Write the PDF to `out`; returns `out`. The results must be of `config`'s tier."""
    work = out.with_name(out.name + ".work")
    shutil.rmtree(work, ignore_errors=True)
    try:
        _collect(root, source, work)
        tier = files.read_json(work / "data" / "claims.json").get("tier")
        if tier != config.run.tier:
            raise UserError(
                f"claims of tier {tier!r}, config of tier {config.run.tier!r}",
                where=str(root / "claims"),
                remedy="run `gillnext claims` with this config",
            )
        pdf = compile_pdf(work, source)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    with files.atomic(out) as temporary:
        temporary.write_bytes(pdf)
    return out


def add_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.add_config(parser)
    parser.add_argument("--results", type=Path, required=True, metavar="FOLDER", help="results/{tier}")
    parser.add_argument("--source", type=Path, default=Path("paper"), metavar="FOLDER", help="the Typst source")
    arguments.add_out(parser, "the PDF")


def main(args: argparse.Namespace) -> None:
    print(paper(arguments.config(args), args.results, args.source, args.out))
