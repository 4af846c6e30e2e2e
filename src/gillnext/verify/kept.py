"""A kept run: the folder that `gillnext keep` writes, with the SHA-256 of each of its files in `manifest.json`.

The Snakefile reads this module on hosts that have Snakemake alone: standard library and YAML only."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from gillnext.config.load import settings_of
from gillnext.config.model import Config
from gillnext.runtime import manifest
from gillnext.runtime.errors import UserError
from gillnext.runtime.manifest import MANIFEST

HASHES = "hashes.json"  # of the values that each stage made; kept runs of before have none


def check(folder: Path) -> dict[str, Any]:
    """The manifest of a kept run whose files are all as they were kept; `UserError` names the first that is not."""
    path = folder / MANIFEST
    if not path.exists():
        others = sorted(p.parent.name for p in folder.parent.glob(f"*/{MANIFEST}"))
        known = f"; kept here: {', '.join(others)}" if others else ""
        remedy = f"run the tier, then `gillnext keep --results results/{folder.name} --out {folder}`{known}"
        raise UserError("no run is kept here", where=str(folder), remedy=remedy)
    return manifest.check(folder)


def settings(folder: Path, name: str = "") -> Config:
    """The settings of the kept run in `folder`, checked; with `name` as the folder that everything comes from."""
    check(folder)
    return dataclasses.replace(settings_of(folder), from_reference=name)
