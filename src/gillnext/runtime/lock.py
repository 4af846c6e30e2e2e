"""A lock that goes with its process, however that ends: a run that was killed leaves nothing to unlock."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO

from gillnext.runtime.errors import UserError

_held: dict[Path, IO[str]] = {}  # open for as long as this process lives


def hold(path: Path | str) -> None:
    """Take the lock for the rest of this process; raises `UserError` where another process has it."""
    path = Path(path)
    if path in _held:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = open(path, "a+", encoding="utf-8")  # noqa: SIM115 (kept open on purpose)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.seek(0)
        holder = handle.read().strip() or "unknown"
        handle.close()
        raise UserError(
            f"another run (process {holder}) is at work here",
            where=str(path.parent),
            remedy="wait for it to end, or stop it, and give the same command again",
        ) from None
    handle.truncate(0)
    handle.write(f"{os.getpid()}\n")
    handle.flush()
    _held[path] = handle
