"""A lock that goes with its process, however that ends: a run that was killed leaves nothing to unlock."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from gillnext.runtime.errors import UserError

NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)

_held: dict[Path, IO[str]] = {}  # open for as long as this process lives


def hold(path: Path | str) -> None:
    """Take the lock for the rest of this process; raises `UserError` where another process has it, and on a file
    system without locks.
    """
    path = Path(path)
    if path not in _held:
        _held[path] = _take(path)


@contextmanager
def held(path: Path | str) -> Iterator[None]:
    """The same for as long as the context lasts; the file is removed at its end."""
    stream = _take(Path(path))
    try:
        yield
    finally:
        Path(path).unlink(missing_ok=True)
        stream.close()


def _take(path: Path) -> IO[str]:
    """The lock's file, open and locked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        stream = open(path, "a+", encoding="utf-8")  # noqa: SIM115 (kept open on purpose)
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.seek(0)
            holder = stream.read().strip() or "unknown"
            stream.close()
            raise UserError(
                f"another run (process {holder}) is at work here",
                where=str(path.parent),
                remedy="wait for it to end, or stop it, and give the same command again",
            ) from None
        except OSError as error:
            stream.close()
            if error.errno not in NO_LOCKS:
                raise
            raise UserError(
                f"this file system has no locks, which keep two runs from writing to the same files ({error.strerror})",
                where=str(path.parent),
                remedy="work in a folder of a local disk, or have the share mounted with flock (Lustre: -o flock)",
            ) from error
        if path.exists() and os.path.samestat(os.fstat(stream.fileno()), path.stat()):
            break
        stream.close()  # its holder has removed it meanwhile
    stream.truncate(0)
    stream.write(f"{os.getpid()}\n")
    stream.flush()
    return stream
