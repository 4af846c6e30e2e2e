"""What a stage has answered already: one JSON line a row or image, appended and synced batch by batch.

The first line names the job (a fingerprint of model, settings and code); the journal of another job is thrown away.
A half-written last line, as SIGKILL leaves it, is dropped.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

from gillnext.runtime import files
from gillnext.runtime.errors import UserError


class Journal:
    """`done` maps a key to its answer, a JSON value; a context manager over `folder`/journal.jsonl."""

    def __init__(self, folder: Path, job: str) -> None:
        self.folder, self.job, self.path = folder, job, folder / "journal.jsonl"
        self.done: dict[str, Any] = {}

    def __enter__(self) -> Journal:
        self.done = self._read()
        lines = [{"job": self.job}] + [{"key": k, "answer": v} for k, v in self.done.items()]
        files.write_jsonl(self.path, lines)
        self.stream = open(self.path, "a", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()

    def _read(self) -> dict[str, Any]:
        if not self.path.exists():
            return {}
        whole = self.path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
        try:
            rows = [json.loads(line) for line in whole]
            return {row["key"]: row["answer"] for row in rows[1:]} if rows and rows[0] == {"job": self.job} else {}
        except (json.JSONDecodeError, KeyError, TypeError):
            return {}

    def add(self, answers: dict[str, Any]) -> None:
        """Append the answers of a batch and sync them to disk."""
        try:
            for key, answer in answers.items():
                self.stream.write(json.dumps({"key": key, "answer": answer}, ensure_ascii=False) + "\n")
            self.stream.flush()
            os.fsync(self.stream.fileno())
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise UserError(
                    "no space left while writing the journal",
                    where=str(self.path),
                    remedy="free some disk and run the same command again; finished work is kept",
                ) from error
            raise
        self.done.update(answers)

    def remove(self) -> None:
        """Throw the work folder away, once the results are written."""
        shutil.rmtree(self.folder, ignore_errors=True)
