"""Keeps of a run what its paper is made of: scores, curves, benchmarks, settings, hashes, the pictures that it shows.

    gillnext keep --results results/demo --out reference/demo

Files are copied as they are, so that tables made from them are the run's to the byte; `manifest.json` holds their
SHA-256 and what the score files say of their making. Appears whole or not at all. Models, data and the other
pictures stay behind: a few MiB."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

from gillnext.config import arguments
from gillnext.config.load import load
from gillnext.paper import failures, grid
from gillnext.runtime import files
from gillnext.runtime.errors import UserError
from gillnext.tables import benchmarks
from gillnext.tables.collect import Results
from gillnext.verify.kept import HASHES, MANIFEST
from gillnext.verify.measured import scores

LATER = {"cost", "paper", "hashes", "verify", "html"}  # rules whose jobs end after the cost table was made
MORE = ("gradient_norms.json", "position_net_norms.json", "training.json")  # beside losses.json, where they are


def curves(results: Results) -> list[str]:
    """Curves, and what the adapters' folders hold of their training."""
    study, names = results.config.study, []
    for arm in study.trained:
        for seed in study.seeds_of(arm):
            folder = f"adapters/{arm}/{seed}"
            names += [f"curves/{arm}/{seed}/curve.json", f"{folder}/losses.json"]
            names += [f"{folder}/{file}" for file in MORE if results.has(f"{folder}/{file}")]
    return names


def jobs(root: Path) -> list[str]:
    """The benchmark files that the cost tables are made of."""
    found = [path.relative_to(root) for path in (root / "benchmarks").rglob("*.tsv")]
    return sorted(str(path) for path in found if path.parts[1] not in LATER)


def wanted(results: Results) -> list[str]:
    """Every file to keep, relative to the results folder."""
    names = ["config.json", "world/heldout/test.jsonl", *scores(results), *curves(results), *jobs(results.root)]
    pictures = dict.fromkeys([*grid.sources(results), *failures.sources(results)])
    names += [str(path.relative_to(results.root)) for path in pictures]
    return names + [name for name in ("wall.json", HASHES) if results.has(name)]


def provenance(results: Results) -> list[dict[str, Any]]:
    """The different ways in which the score files say that they were made: one, unless code changed in between."""
    stamps = [results.read(name, "").get("provenance", {}) for name in scores(results)]
    return [stamp for i, stamp in enumerate(stamps) if stamp not in stamps[:i]]


def keep(root: Path, out: Path) -> dict[str, Any]:
    """Write the folder `out` from the results folder `root` of a finished run; returns the manifest."""
    if not (root / "config.json").exists():
        raise UserError("no config.json in it", where=str(root), remedy="name the results folder of a finished run")
    results = Results(root, load(root / "config.json"))
    names = wanted(results)
    for name in names:
        if not results.has(name):
            raise UserError("no such file", where=str(root / name), remedy="run the workflow to its end, then keep it")
    manifest: dict[str, Any] = {"tier": results.config.run.tier, "provenance": provenance(results)}
    with files.atomic(out) as folder:
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, folder / name)
        ended = {Path(n).relative_to("benchmarks").as_posix(): (root / n).stat().st_mtime for n in jobs(root)}
        files.write_json(folder / "benchmarks" / benchmarks.ENDED, ended)
        kept = sorted(path for path in folder.rglob("*") if path.is_file())
        manifest["bytes"] = sum(path.stat().st_size for path in kept)
        manifest["files"] = {path.relative_to(folder).as_posix(): files.sha256(path) for path in kept}
        files.write_json(folder / MANIFEST, manifest)
    return manifest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--results", type=Path, required=True, metavar="FOLDER", help="results of a finished run")
    arguments.add_out(parser, "folder of what is kept, as reference/{tier}; replaced if it exists")


def main(args: argparse.Namespace) -> None:
    manifest = keep(args.results, args.out)
    print(f"{args.out}: {len(manifest['files'])} files, {manifest['bytes'] / 2**20:.1f} MiB")
    if len(manifest["provenance"]) > 1:
        print("The score files name more than one state of code, locks or image; the manifest lists them.")
