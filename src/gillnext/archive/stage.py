"""Write the archive of a run for others to keep: a folder and a zip, the same bytes for the same run and checkout.

    gillnext archive --run reference/demo --out build/release/demo

In it: the kept run, the PDF and its tables where they are there, Mini-Wukong, the sources with settings, locks and
claims, and what describes them: a Provenance Run Crate, Croissant, an SBOM of the image, CodeMeta, SHA-256 of all. Each
description is held to its format's validator, offline, before the archive appears. Runs in an environment of its own
(envs/archive.txt): `make release`."""

from __future__ import annotations

import argparse
import shutil
import zipfile
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gillnext.archive import codemeta, crate, croissant, dataset, sbom, validate
from gillnext.config import arguments
from gillnext.record import jobs
from gillnext.runtime import files
from gillnext.runtime.errors import UserError
from gillnext.verify import keep, kept

SOURCES = (
    "ARTIFACT.md", "CITATION.cff", "LICENSE", "Makefile", "README.md", "README.zh.md", "Snakefile", "config",
    "config.yaml", "containers", "docs", "envs", "examples", "paper", "profiles", "pyproject.toml",
    "reference/claims.yaml", "reference/measured", "reference/runs", "src", "workflow",
)  # fmt: skip
LEFT_OUT = ("__pycache__", "*.egg-info", "*.pyc", "images", "*.sif", ".*")
RESULTS = ("tables", "claims", "cost", "figures", "verify")
SUMS, ZIPPED_AT = "SHA256SUMS", (1980, 1, 1, 0, 0, 0)
README = """# {title}

A finished run of tier {tier}, from {begun} to {ended} (UTC), with what it was made of. `sha256sum --check SHA256SUMS`
says whether all is as it was.

| | |
|---|---|
| `run/` | the record: scores, jobs, settings, hashes, the pictures shown; `manifest.json` says what made them |
| `results/` | the paper, its tables and figures, where they had been made |
| `mini-wukong/` | the drawn world, which `croissant.json` describes; not there where the run was of real shards |
| `source/` | code, settings, locks and claims as they were when the archive was made |
| `ro-crate-metadata.json` | the run as a Provenance Run Crate |
| `sbom.cdx.json`, `codemeta.json` | what the container image holds; the software's metadata |

{same}

Not in it: weights, which `source/` makes again to the same values; rows, pictures or weights of others.
Licence: {licence}, in `LICENSE`.
"""


def _sources(checkout: Path, out: Path) -> None:
    for name in SOURCES:
        place, target = checkout / name, out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if place.is_dir():
            shutil.copytree(place, target, ignore=shutil.ignore_patterns(*LEFT_OUT))
        elif place.exists():
            shutil.copyfile(place, target)


def _results(results: Path, out: Path) -> None:
    """The PDF and the tables of a results folder, where they are there."""
    for name in RESULTS:
        if (results / name).is_dir():
            shutil.copytree(results / name, out / name, ignore=shutil.ignore_patterns(".*"))
    if (results / "paper/paper.pdf").exists():
        out.mkdir(exist_ok=True)
        shutil.copyfile(results / "paper/paper.pdf", out / "paper.pdf")


def _run(run: Path, out: Path) -> dict[str, Any]:
    """A kept run, or what would be kept of a finished one; returns its manifest."""
    if not (run / kept.MANIFEST).exists():
        return keep.keep(run, out)
    found = kept.check(run)
    out.mkdir()
    for name in (kept.MANIFEST, *found["files"]):
        shutil.copyfile(run / name, out / name)
    return found


def sums(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a folder, by its path from there, sorted."""
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return {name: files.sha256(folder / name) for name in paths}


def zipped(folder: Path, out: Path, name: str) -> None:
    """The files of a folder under `name/` in a zip: sorted, of one date and one mode."""
    with files.atomic(out) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for place in sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(f"{name}/{place}", ZIPPED_AT)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, (folder / place).read_bytes())


def _readme(about: dict[str, Any], checkout: Path, done: list[jobs.Job], cited: dict[str, Any]) -> str:
    lock = files.sha256(checkout / "envs/pipeline.txt")[:16]
    same = "The run's locks are those in `source/envs/pipeline.txt`."
    if {stamp.get("lock") for stamp in about["provenance"]} != {lock}:
        same = "The run had other locks than those in `source/envs/pipeline.txt`: `run/manifest.json` has their hash."
    begun, ended = min(job.start for job in done), max(job.end for job in done)
    return README.format(
        title=cited["title"], tier=about["tier"], begun=crate.time(begun)[:16], ended=crate.time(ended)[:16], same=same,
        licence=cited["license"],
    )  # fmt: skip


def _refuse(what: str, issues: list[str]) -> None:
    if issues:
        remedy = "the archive is not written; mend what describes it (src/gillnext/archive)"
        raise UserError(f"{len(issues)} issues: " + "; ".join(issues[:5]), where=what, remedy=remedy)


def fill(run: Path, results: Path, checkout: Path, folder: Path) -> None:
    """Write the archive's files into the empty folder `folder`; `UserError` where a validator refuses one."""
    about = _run(run, folder / "run")
    config, done = kept.settings(folder / "run"), jobs.read(folder / "run" / jobs.NAME)
    cited = codemeta.citation(checkout)
    made = datetime.fromtimestamp(round(max(job.end for job in done)), UTC)
    _results(results, folder / "results")
    _sources(checkout, folder / "source")
    for name in ("LICENSE", "CITATION.cff"):
        shutil.copyfile(checkout / name, folder / name)
    files.write_text(folder / "README.md", _readme(about, checkout, done, cited))
    files.write_json(folder / "codemeta.json", codemeta.make(checkout))
    bill = sbom.make(checkout, made)
    _refuse("sbom.cdx.json", validate.sbom(bill))
    files.write_json(folder / "sbom.cdx.json", bill)
    if not config.world.release:
        dataset.make(config, folder / "run", folder / dataset.NAME)
        files.write_json(folder / "croissant.json", croissant.make(config, folder / dataset.NAME, cited, made))
        _refuse("croissant.json", validate.croissant(folder / "croissant.json"))
    contents = crate.Contents(
        folder, sums(folder), done, config.run.tier, cited, f"https://spdx.org/licenses/{cited['license']}", made
    )
    files.write_json(folder / "ro-crate-metadata.json", crate.make(contents))
    _refuse("ro-crate-metadata.json", validate.crate(folder))
    lines = [f"{digest}  {name}\n" for name, digest in sums(folder).items()]
    files.write_text(folder / SUMS, "".join(lines))


def make(run: Path, results: Path, checkout: Path, out: Path) -> Path:
    """Write the folder `out` and beside it the zip file, which is returned."""
    with files.atomic(out) as folder:
        folder.mkdir()
        fill(run, results, checkout, folder)
    archive = out.with_name(f"{out.name}.zip")
    zipped(out, archive, f"gillnext-{out.name}")
    return archive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--run", type=Path, required=True, metavar="FOLDER", help="a kept run, or results of a finished one"
    )
    parser.add_argument("--results", type=Path, metavar="FOLDER", help="where PDF and tables are (default: RUN)")
    parser.add_argument("--checkout", type=Path, default=Path(), metavar="FOLDER", help="the sources (default: here)")
    arguments.add_out(parser, "folder of the archive; replaced if it exists, as OUT.zip is")


def main(args: argparse.Namespace) -> None:
    archive = make(args.run, args.results or args.run, args.checkout, args.out)
    count = sum(path.is_file() for path in args.out.rglob("*"))
    print(f"{archive}: {count} files, {archive.stat().st_size / 2**20:.1f} MiB, SHA-256 {files.sha256(archive)}")
    print("no issue for roc-validator (Provenance Run Crate 0.5), CycloneDX 1.6", end="")
    print(
        ", mlcroissant"
        if (args.out / "croissant.json").exists()
        else "; no Croissant: the shards are not the drawn world's"
    )
    advice = Counter(issue.partition(" (")[0] for issue in validate.crate(args.out, "RECOMMENDED"))
    print(f"recommendations of roc-validator's that are not met: {advice.total()} (docs/archive.md)")
    for text, count in sorted(advice.items()):
        print(f"  {count} × {text}")
