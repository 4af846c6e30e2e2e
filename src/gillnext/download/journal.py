"""What has been done already: one JSON line a row, appended and synced in batches, read again after a kill.

The first line names the job (a hash of its table, settings and code). The work of another job is set aside, images and
all, as FOLDER.JOB: that job goes on with it if it comes back (a setting changed, and changed back), and nothing of it
is used for this one. It takes its room on the disk until a job of FOLDER is done. A folder whose journal names no job
is deleted. Rows that ended with an error that may pass (connection, timeout, server error) are tried again; images are
believed only if their bytes still have the hash that the journal tells.
"""

from __future__ import annotations

import glob
import hashlib
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from types import TracebackType

from gillnext.runtime import files
from gillnext.runtime.journal import append, begin, entries, job_of

# Tried again at the end of a run, and by the next.
PASSED_OVER = frozenset({"connection", "timeout", "server_error", "unknown_host"})


@dataclass(frozen=True, slots=True)
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
        self.writing = Lock()

    def __enter__(self) -> Journal:
        self._take_up()
        kept = entries(self.path, self.job, lambda row: Outcome(**row))
        self.images.mkdir(parents=True, exist_ok=True)
        for leftover in self.images.glob(".*.part"):
            leftover.unlink()
        self.done = {o.index: o for o in kept if self._valid(o)}
        self.stream = begin(self.path, self.job, map(asdict, self.done.values()))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with files.full_disk_told(self.path):
            try:
                self.flush()
            finally:
                self.stream.close()

    def _take_up(self) -> None:
        """Set the work of another job aside, and bring back what was set aside of this one."""
        other, aside = job_of(self.path), self._aside(self.job)
        if other == self.job:
            return
        if other and self.folder.exists():
            shutil.rmtree(self._aside(other), ignore_errors=True)
            self.folder.rename(self._aside(other))
        shutil.rmtree(self.folder, ignore_errors=True)
        if aside.exists():
            aside.rename(self.folder)

    def _aside(self, job: str) -> Path:
        return self.folder.with_name(f"{self.folder.name}.{job}")

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
        with files.full_disk_told(path):
            try:
                temporary.write_bytes(data)
                os.replace(temporary, path)
            except OSError:
                temporary.unlink(missing_ok=True)
                raise

    def add(self, outcome: Outcome) -> bool:
        """Take a row's outcome; its image must have been written before. Tells whether it is time to `flush`."""
        self.done[outcome.index] = outcome
        self.pending.append(outcome)
        return len(self.pending) >= self.batch

    def flush(self) -> None:
        """Write and sync what has not been written yet; in a thread, as a disk may take seconds."""
        with self.writing, files.full_disk_told(self.path):
            pending, self.pending = self.pending, []
            if pending:
                append(self.stream, map(asdict, pending))

    def remove(self) -> None:
        """Throw the work away, and what was set aside for it, once the results are written."""
        for folder in self.folder.parent.glob(f"{glob.escape(self.folder.name)}.*"):
            if folder == self._aside(job_of(folder / "journal.jsonl")):
                shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)
