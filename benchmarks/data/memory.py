"""The peak of a process's own memory: without the pages of files that it has mapped, which the system takes back."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType

EVERY = 0.05  # seconds


class Peak:
    """A context manager; `mib` is the most anonymous memory (RssAnon) that this process had, sampled."""

    def __init__(self) -> None:
        self.mib, self.over = 0.0, threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Peak:
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.over.set()
        self.thread.join()

    def _watch(self) -> None:
        while not self.over.wait(EVERY):
            status = Path("/proc/self/status").read_text()
            kib = int(status.split("RssAnon:")[1].split()[0])
            self.mib = max(self.mib, kib / 1024)
