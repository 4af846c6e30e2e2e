"""Progress: a bar with rate and time left on a terminal, one line a minute elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


class Progress:
    """Counts work done. `with Progress("filter", total=n, unit="rows") as p: p.step(k)`."""

    def __init__(self, name: str, total: int, unit: str = "it", start: int = 0, every: float = 60.0) -> None:
        self.name, self.total, self.unit, self.every = name, total, unit, every
        self.done, self.start, self.began, self.printed = start, start, time.monotonic(), time.monotonic()
        terminal = sys.stderr.isatty()
        self.bar = tqdm(total=total, initial=start, desc=name, unit=unit) if terminal else None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close() if self.bar is not None else self._line()

    def step(self, count: int = 1, **notes: float | int | str) -> None:
        self.done += count
        if self.bar is not None:  # a bar of nothing is false
            self.bar.update(count)
            if notes:
                self.bar.set_postfix(notes)
        elif time.monotonic() - self.printed >= self.every:
            self._line(**notes)

    def _line(self, **notes: float | int | str) -> None:
        self.printed = time.monotonic()
        seconds = max(self.printed - self.began, 1e-9)
        rate = (self.done - self.start) / seconds
        left = f"{(self.total - self.done) / rate:.0f} s left" if rate else "time left unknown"
        extra = "".join(f", {k} {v:.4g}" if isinstance(v, float) else f", {k} {v}" for k, v in notes.items())
        print(
            f"{self.name}: {self.done}/{self.total} {self.unit}, {rate:.4g}/s, {left}{extra}",
            file=sys.stderr,
            flush=True,
        )


def track(items: Iterable[T], name: str, total: int, unit: str = "it") -> Iterator[T]:
    """Iterate with progress."""
    with Progress(name, total, unit) as progress:
        for item in items:
            yield item
            progress.step()
