"""The hash of a model's contents, read once: hundreds of jobs name the same base, of 16 GB.

What a hash was found of is kept, in the user's cache (`XDG_CACHE_HOME`; a run in containers has its own): every file's
size, inode and times of change of data and of state. The last is the system's alone to set: a file that was written
over is read again though size and date were put back. What is small is read each time, and nothing is kept of it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from gillnext.runtime import files
from gillnext.runtime.errors import UserError

LEAST = 1 << 30  # bytes from which a hash is kept; fewer take a second or two
SETTLED = 2.0  # seconds since the last change: of an earlier one a file's times may not tell another just after it


def sha256(path: Path | str) -> str:
    """`files.sha256` of a file or folder; read once, by one process, while no file changes."""
    path = Path(path)
    found, begun = _state(path), time.time()
    if sum(size for _, size, *_ in found) < LEAST:
        return files.sha256(path)
    with _alone(_place(path)) as place:
        known: dict[str, Any] = {}
        with suppress(UserError):  # there is none yet, or it was damaged
            known = files.read_json(place)
        if known.get("state") == found:
            return known["sha256"]
        digest = files.sha256(path)
        newest = max(max(times) for _, _, _, *times in found) / 1e9
        if _state(path) == found and newest < begun - SETTLED:
            with suppress(OSError, UserError):  # no room for it: read again by the next
                files.write_json(place, {"path": str(path.absolute()), "sha256": digest, "state": found})
        return digest


def _state(path: Path) -> list[list[Any]]:
    """Name, size, inode, and times of change of data and of state (ns), of the files that `files.sha256` reads."""
    found = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    about = [(str(file.relative_to(path)), file.stat()) for file in found]
    return [[name, of.st_size, of.st_ino, of.st_mtime_ns, of.st_ctime_ns] for name, of in about]


def _place(path: Path) -> Path:
    """The file that keeps what is known of `path`."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    return cache / "gillnext" / "sha256" / f"{hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:32]}.json"


@contextmanager
def _alone(place: Path) -> Iterator[Path]:
    """One process at a time, where the cache's file system has locks and can be written to."""
    with ExitStack() as held:
        with suppress(OSError):
            place.parent.mkdir(parents=True, exist_ok=True)
            fcntl.flock(held.enter_context(open(place.with_suffix(".lock"), "w")), fcntl.LOCK_EX)
        yield place
