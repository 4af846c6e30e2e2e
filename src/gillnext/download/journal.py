"""What has been done already: one JSON line a row, appended and synced in batches, read again after a kill.

The first line names the job (a hash of its table and settings); a journal of another job is set aside. Rows
that ended with an error that may pass (connection, timeout, server error) are tried again; images are
believed only if their bytes still have the hash that the journal tells.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from gillnext.runtime import files
from gillnext.runtime.errors import UserError

PASSED_OVER = frozenset({"connection", "timeout", "server_error"})  # tried again by the next run


@dataclass(frozen=True)
class Outcome:
    """How row `index` of the table ended; file, hash and size (pixels) where there is an image."""

    index: int
    kind: str
    detail: str = ""
    file: str = ""
    sha256: str = ""
    width: int = 0
    height: int = 0


class Journal:
    """A work folder: `journal.jsonl` and `files/` with the images. A context manager."""

    def __init__(self, folder: Path, job: str, batch: int = 64) -> None:
        self.folder, self.job, self.batch = folder, job, batch
        self.path, self.images = folder / "journal.jsonl", folder / "files"
        self.done: dict[int, Outcome] = {}
        self.pending: list[Outcome] = []

    def __enter__(self) -> Journal:
        kept = self._read()
        if kept is None:
            shutil.rmtree(self.folder, ignore_errors=True)
        self.images.mkdir(parents=True, exist_ok=True)
        for leftover in self.images.glob(".*.part"):
            leftover.unlink()
        self.done = {o.index: o for o in kept or [] if self._valid(o)}
        lines = [json.dumps({"job": self.job})] + [_line(o) for o in self.done.values()]
        files.write_text(self.path, "\n".join(lines) + "\n")
        self.stream = open(self.path, "a", encoding="utf-8")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.flush()
        self.stream.close()

    def _read(self) -> list[Outcome] | None:
        """The outcomes of an earlier run of this job, or None; a half-written last line is dropped."""
        if not self.path.exists():
            return None
        whole = self.path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
        try:
            rows = [json.loads(line) for line in whole]
            if not rows or rows[0] != {"job": self.job}:
                return None
            return [Outcome(**row) for row in rows[1:]]
        except (json.JSONDecodeError, TypeError):
            return None

    def _valid(self, outcome: Outcome) -> bool:
        if outcome.kind in PASSED_OVER:
            return False
        if outcome.kind != "ok":
            return True
        path = self.images / outcome.file
        return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == outcome.sha256

    def keep(self, name: str, data: bytes) -> None:
        """Write an image whole or not at all; cheaper than `files.atomic`, which makes a folder each time."""
        path = self.images / name
        temporary = path.with_name(f".{name}.part")
        try:
            temporary.write_bytes(data)
            os.replace(temporary, path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise UserError(
                    "no space left while writing an image",
                    where=str(path),
                    remedy="free some disk and run the same command again; fetched images are kept",
                ) from error
            raise

    def add(self, outcome: Outcome) -> None:
        """Take a row's outcome; its image must have been written before."""
        self.done[outcome.index] = outcome
        self.pending.append(outcome)
        if len(self.pending) >= self.batch:
            self.flush()

    def flush(self) -> None:
        """Write and sync what has not been written yet."""
        if self.pending:
            self.stream.write("".join(_line(o) + "\n" for o in self.pending))
            self.stream.flush()
            os.fsync(self.stream.fileno())
            self.pending = []


def _line(outcome: Outcome) -> str:
    return json.dumps(asdict(outcome), ensure_ascii=False)
