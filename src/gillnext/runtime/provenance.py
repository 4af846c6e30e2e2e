"""Where a result comes from: code version, environment lock, image digest, arithmetic and machine."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gillnext
from gillnext.runtime import arithmetic, files, machine
from gillnext.runtime.imports import UNFOLLOWED, closure


@functools.cache
def code_hash(*modules: str) -> str:
    """SHA-256 of the package's sources: the code version that holds in a dirty tree and in an image alike.

    With `modules`, of the files that these import alone, less the settings and the command line.
    """
    root, digest = Path(gillnext.__file__).parent, hashlib.sha256()
    imported = {path for module in modules for path in closure(module, root.parent, skip=UNFOLLOWED)}
    for file in sorted(imported or root.rglob("*.py")):
        digest.update(str(file.relative_to(root)).encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def fingerprint(*made_from: Any, code: Sequence[str] = ()) -> str:
    """What unfinished work must agree with to be taken up: what it was made from, and the code's version.

    `code` names the modules that matter, with all that they import; without it the whole package does.
    """
    text = json.dumps([*made_from, code_hash(*code)], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def image() -> str:
    """The container image that this process runs in: its SHA-256, from the file that `GILLNEXT_IMAGE` names; its file's
    name where it was started by hand; "host" where there is none.
    """
    if about := os.environ.get("GILLNEXT_IMAGE"):
        return files.read_json(about)["sha256"]
    return Path(os.environ.get("APPTAINER_CONTAINER") or "host").name


def stamp() -> dict[str, Any]:
    """What every score file carries about the code that made it."""
    return {
        "version": gillnext.__version__,
        "code": code_hash(),
        "lock": os.environ.get("GILLNEXT_LOCK", "host"),
        "image": image(),
        "arithmetic": arithmetic.current(),
        "processor": machine.processor(),
        "libc": machine.libc(),
    }
