"""A folder that the repository keeps, with the SHA-256 of each of its files in `manifest.json`.

The Snakefile reads this module on hosts that have Snakemake alone: standard library only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gillnext.runtime import files
from gillnext.runtime.errors import UserError

MANIFEST = "manifest.json"


def write(folder: Path, about: dict[str, Any]) -> dict[str, Any]:
    """Write the manifest of the files in `folder`, however deep, with what `about` says beside; returns it."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    manifest = dict(about)
    manifest["bytes"] = sum(path.stat().st_size for path in paths)
    manifest["files"] = {path.relative_to(folder).as_posix(): files.sha256(path) for path in paths}
    files.write_json(folder / MANIFEST, manifest)
    return manifest


def check(folder: Path) -> dict[str, Any]:
    """The manifest of a folder whose files are all as they were kept; `UserError` names the first that is not."""
    manifest: dict[str, Any] = files.read_json(folder / MANIFEST)
    remedy = f"restore it: git checkout -- {folder}"
    for name, digest in manifest["files"].items():
        file = folder / name
        if not file.is_file():
            raise UserError("listed in the manifest, and not here", where=str(file), remedy=remedy)
        if files.sha256(file) != digest:
            raise UserError("not the file that was kept: its SHA-256 is another", where=str(file), remedy=remedy)
    return manifest
