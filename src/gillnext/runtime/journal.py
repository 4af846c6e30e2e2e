"""What a stage has answered already: one JSON line a row or image, appended and synced batch by batch.

The first line names the job (a fingerprint of model, settings and code); the journal of another job is thrown away,
and a message says so. What stands behind a broken line goes too: a half-written last one, as SIGKILL leaves it, or a
damaged one.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any, Protocol, TypeVar

from gillnext.runtime import files
from gillnext.runtime.lock import held

T = TypeVar("T")
Batch = TypeVar("Batch", bound=Sequence[Any])


class Unfinished(AbstractContextManager[Any], Protocol):
    """A stage's unfinished work: a journal in a folder of its own."""

    folder: Path

    def remove(self) -> None:
        """Throw the folder away."""


Work = TypeVar("Work", bound=Unfinished)


@contextmanager
def at_work(work: Work) -> Iterator[Work]:
    """`work` open, in this process alone; thrown away where the context ends without an error.

    So results are written inside. Raises `UserError` where another process is at it.
    """
    with held(f"{work.folder}.lock"):
        with work:
            yield work
        work.remove()


def job_of(path: Path) -> str:
    """The job that a journal's first line names; "" where there is no journal, or its first line names none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as lines:
            return str(json.loads(lines.readline())["job"])
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return ""


def entries(path: Path, job: str, read: Callable[[Any], T]) -> list[T]:
    """What `read` makes of the lines of a journal of this job, up to the first that is broken; none of another's.

    A line is broken where it is no JSON, or `read` raises `KeyError`, `TypeError` or `ValueError` over it. Who goes on
    with the journal writes it anew from what is given here, so that no line follows a broken one.
    """
    found: list[T] = []
    if job_of(path) != job:
        return found
    with open(path, encoding="utf-8", errors="replace", newline="\n") as lines:
        lines.readline()
        for line in lines:
            if not line.endswith("\n"):
                break
            try:
                found.append(read(json.loads(line)))
            except (KeyError, TypeError, ValueError):
                break
    return found


def begin(path: Path, job: str, rows: Iterable[dict[str, Any]]) -> IO[str]:
    """A journal of `job` written anew with `rows`, open to `append` to it."""
    files.write_text(path, _lines([{"job": job}, *rows]))
    stream = open(path, "a", encoding="utf-8")  # noqa: SIM115 (the journal closes it)
    os.fsync(stream.fileno())  # it stands for the synced one that it replaces
    return stream


def append(stream: IO[str], rows: Iterable[dict[str, Any]]) -> None:
    """Write rows to a journal and sync them to disk."""
    stream.write(_lines(rows))
    stream.flush()
    os.fsync(stream.fileno())


def _lines(rows: Iterable[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


class Journal:
    """`done` maps a key to its answer, a JSON value; a context manager over `folder`/journal.jsonl."""

    def __init__(self, folder: Path, job: str) -> None:
        self.folder, self.job, self.path = folder, job, folder / "journal.jsonl"
        self.done: dict[str, Any] = {}

    def __enter__(self) -> Journal:
        if job_of(self.path) not in ("", self.job):
            print(f"{self.path}: of other code, settings or model; begun anew", file=sys.stderr, flush=True)
        self.done = dict(entries(self.path, self.job, lambda row: (row["key"], row["answer"])))
        self.stream = begin(self.path, self.job, _rows(self.done))
        return self

    def __exit__(self, *_: object) -> None:
        with files.full_disk_told(self.path):  # what could not be written is tried again here
            self.stream.close()

    def ask_again(self, reason: Callable[[Any], str], passing: Collection[str], failed: Collection[str]) -> None:
        """Forget the answers for whose `reason` another try may do: those in `passing`, and where every answer is in
        `failed`, all of them.
        """
        reasons = {key: reason(answer) for key, answer in self.done.items()}
        again = passing if set(reasons.values()) - set(failed) else failed
        for key in [key for key, why in reasons.items() if why in again]:
            del self.done[key]

    def unfinished(self, batches: Iterable[Batch], key: Callable[[Any], str]) -> Iterator[Batch]:
        """The batches with an item, of that `key`, that is not answered yet.

        They come whole: so a batch is the same, and its answers too, whether the run was interrupted or not.
        """
        return (batch for batch in batches if any(key(item) not in self.done for item in batch))

    def add(self, answers: dict[str, Any]) -> int:
        """Append the answers of a batch and sync them to disk; those to what is answered already are passed over.

        Returns the number of new ones.
        """
        new = {key: answer for key, answer in answers.items() if key not in self.done}
        with files.full_disk_told(self.path):
            append(self.stream, _rows(new))
        self.done.update(new)
        return len(new)

    def remove(self) -> None:
        """Throw the work folder away, once the results are written."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _rows(answers: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "answer": answer} for key, answer in answers.items()]
