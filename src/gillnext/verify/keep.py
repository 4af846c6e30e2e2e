"""Keeps of a run what its paper is made of: its record, the jobs behind its costs, settings and hashes.

    gillnext keep --results results/demo --out reference/demo
    gillnext keep --results results/demo --supplement --out reference/supplement

Nine files, copied as they are, so that tables made from them are the run's to the byte; `manifest.json` holds
their SHA-256 and what the score files say of their making. Appears whole or not at all. Models, data and the other
pictures stay behind: a few MiB."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

from gillnext.config import arguments
from gillnext.config.load import settings_of
from gillnext.record import jobs, pictures
from gillnext.record.results import Results
from gillnext.runtime import files, manifest
from gillnext.runtime.errors import UserError
from gillnext.verify.kept import HASHES

KEPT = ("config.json", "scores.parquet", "curves.parquet", "protocols.json", "memory.json", pictures.NAME)


def provenance(results: Results) -> list[dict[str, Any]]:
    """The different ways in which the score files say that they were made: one, unless code changed in between."""
    stamps = results.stamps
    return [stamp for i, stamp in enumerate(stamps) if stamp not in stamps[:i]]


def keep(root: Path, out: Path) -> dict[str, Any]:
    """Write the folder `out` from the results folder `root` of a finished run; returns the manifest."""
    if not (root / "config.json").exists():
        raise UserError("no config.json in it", where=str(root), remedy="name the results folder of a finished run")
    results = Results(root, settings_of(root))
    names = [*KEPT, *([HASHES] if (root / HASHES).exists() else [])]
    for name in names:
        if not (root / name).exists():
            raise UserError("no such file", where=str(root / name), remedy="run the workflow to its end, then keep it")
    with files.atomic(out) as folder:
        folder.mkdir()
        for name in names:
            shutil.copyfile(root / name, folder / name)
        jobs.write(jobs.read(root / "benchmarks"), folder / jobs.NAME)
        about = {"tier": results.config.run.tier, "provenance": provenance(results)}
        return manifest.write(folder, about)


def keep_supplement(root: Path, out: Path) -> dict[str, Any]:
    """The same of the supplement of the run in `root`: scores, pictures that it shows, hashes, costs, settings."""
    place, remedy = root / "supplement", "run `make supplement` to its end, then keep it"
    config = settings_of(root)
    parts, variants = config.supplement.parts, config.supplement.variants
    with files.atomic(out) as folder:
        folder.mkdir()
        names = [f"{part}.{kind}" for part in parts for kind in ("json", "zip")]
        names += [f"gill-{variant}.json" for variant in variants if "gill" in parts]
        for path in (root / "config.json", *(place / name for name in (*names, HASHES))):
            if not path.exists():
                raise UserError("no such file", where=str(path), remedy=remedy)
            shutil.copyfile(path, folder / path.name)
        jobs.write(jobs.read(place / "benchmarks"), folder / jobs.NAME)
        stamps = [files.read_json(folder / f"{part}.json")["provenance"] for part in parts]
        stamps = [stamp for i, stamp in enumerate(stamps) if stamp not in stamps[:i]]
        return manifest.write(folder, {"tier": config.run.tier, "provenance": stamps})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--results", type=Path, required=True, metavar="FOLDER", help="results of a finished run")
    parser.add_argument("--supplement", action="store_true", help="of its supplement instead")
    arguments.add_out(parser, "folder of what is kept, as reference/{tier}; replaced if it exists")


def main(args: argparse.Namespace) -> None:
    kept = (keep_supplement if args.supplement else keep)(args.results, args.out)
    print(f"{args.out}: {len(kept['files'])} files, {kept['bytes'] / 2**20:.1f} MiB")
    if len(kept["provenance"]) > 1:
        print("The score files name more than one state of code, locks or image; the manifest lists them.")
