"""Hashes what each stage of a finished run made, over values: the same on every machine where the values are the same.

    gillnext hashes --results results/demo --out results/demo/hashes.json
    gillnext hashes --results results/smoke --against reference/smoke.json
    gillnext hashes --results results/demo --supplement --against reference/supplement/hashes.json

Writes one SHA-256 a job and one a stage, in the workflow's order, with the hash of each stage's code, the settings, and
what the score files say of arithmetic, processor, C library and locks (`gillnext.verify.values` says what a value is).
With `--against` the run's file is compared with another: status 1 where a value differs, with the first stage that has
it; where code, locks or settings differ as well, it says which, and how to renew the file."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gillnext import cli
from gillnext.config.load import settings_of
from gillnext.config.model import Config
from gillnext.record.results import Results, there
from gillnext.runtime import files, provenance
from gillnext.runtime.errors import UserError
from gillnext.verify import against
from gillnext.verify.inventory import Stage, stages, supplement
from gillnext.verify.kept import HASHES
from gillnext.verify.values import digest, of_output

MADE_BY = ("arithmetic", "processor", "libc", "lock")


def one(values: Iterable[Any]) -> str | None:
    """What all score files say; where they say several things, all of them; None where one says nothing."""
    found = sorted({str(value) if value else "" for value in values})
    return None if "" in found else " and ".join(found)


def made_by(results: Results) -> dict[str, str | None]:
    """What the score files say of the arithmetic and the machines that made the run."""
    return {key: one(stamp.get(key) for stamp in results.stamps) for key in MADE_BY}


def told_by(root: Path, made: Iterable[Stage]) -> list[dict[str, Any]]:
    """Each stage with its hash, its jobs' and its code's."""
    found = []
    for stage in made:
        jobs = {name: of_output(root, outputs) for name, outputs in stage.jobs.items()}
        whole = digest(*(part for job in jobs.items() for part in job))
        code = provenance.code_hash(cli.STAGES[stage.command][0])
        found.append({"stage": stage.name, "hash": whole, "code": code, "jobs": jobs})
    return found


def make(root: Path, config: Config) -> dict[str, Any]:
    """What hashes.json holds of the finished run in `root`."""
    tables = [path.name for path in (root / "tables").glob("*.json")]
    found = told_by(root, stages(config, tables, (root / "names.tsv").exists()))
    about = {"tier": config.run.tier, "settings": dataclasses.asdict(config)}
    return about | made_by(Results(root, config)) | {"stages": found}


def make_of_supplement(root: Path, config: Config) -> dict[str, Any]:
    """The same of the supplement of the run in `root`."""
    scores = [there(root / f"supplement/{part}.json", "supplement") for part in config.supplement.parts]
    stamps = [files.read_json(path)["provenance"] for path in scores]
    about = {"tier": config.run.tier, "settings": dataclasses.asdict(config)}
    by = {key: one(stamp.get(key) for stamp in stamps) for key in MADE_BY}
    return about | by | {"stages": told_by(root, supplement(config))}


def read(path: Path) -> dict[str, Any]:
    """A file that this stage wrote."""
    if not path.exists():
        remedy = f"make them: gillnext hashes --results FOLDER --out {path}"
        raise UserError("no hashes there", where=str(path), remedy=remedy)
    found: dict[str, Any] = files.read_json(path)
    return found


def of_run(root: Path, anew: bool = False, of_supplement: bool = False) -> dict[str, Any]:
    """The hashes that lie in a results folder, or `of_supplement`; made now where none do, or `anew`."""
    place = root / "supplement" / HASHES if of_supplement else root / HASHES
    if place.exists() and not anew:
        return read(place)
    if not (root / "config.json").exists():
        raise UserError("no config.json in it", where=str(root), remedy="run the workflow to its end first")
    return (make_of_supplement if of_supplement else make)(root, settings_of(root))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--results", type=Path, required=True, metavar="FOLDER", help="results of a finished run")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the file to write, as results/{tier}/hashes.json")
    parser.add_argument("--supplement", action="store_true", help="of the supplement's stages alone")
    parser.add_argument("--against", type=Path, metavar="FILE", help="such a file of another run, to compare with")


def main(args: argparse.Namespace) -> None:
    if args.out:
        mine = of_run(args.results, True, args.supplement)
        files.write_json(args.out, mine)
        jobs = sum(len(stage["jobs"]) for stage in mine["stages"])
        print(f"{args.out}: {len(mine['stages'])} stages, {jobs} jobs, {mine['arithmetic'] or 'unknown'} arithmetic")
    if args.against:
        mine, theirs = of_run(args.results, False, args.supplement), read(args.against)
        option = " --supplement" * args.supplement
        renew = f"gillnext hashes --results {args.results}{option} --out {args.against}"
        equal, sentence = against.judged(mine, theirs, str(args.against), renew)
        print(sentence)
        if not equal:
            raise SystemExit(1)
