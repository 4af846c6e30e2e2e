"""How busy a device is while something runs on it."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from types import TracebackType

EVERY = 0.2  # seconds between two samples of a GPU
ASK = ("nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits")


class Busy:
    """A context manager; `share` is in 0…1.

    Of a GPU: the mean of what `nvidia-smi` tells, the time in which any kernel ran. Of the CPU: this process's
    seconds by the seconds of all cores that it may use.
    """

    def __init__(self, device: str) -> None:
        kind, _, index = device.partition(":")
        self.command = [*ASK, f"--id={index or 0}"] if kind == "cuda" else None
        self.share, self.samples, self.over = 0.0, list[float](), threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Busy:
        self.began = time.perf_counter(), time.process_time()
        if self.command:
            self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        seconds, used = time.perf_counter() - self.began[0], time.process_time() - self.began[1]
        self.share = used / seconds / len(os.sched_getaffinity(0))
        if self.command:
            self.over.set()
            self.thread.join()
            self.share = sum(self.samples) / max(len(self.samples), 1)

    def _watch(self) -> None:
        assert self.command is not None
        while not self.over.wait(EVERY):
            self.samples.append(float(subprocess.run(self.command, capture_output=True, check=True).stdout) / 100)
