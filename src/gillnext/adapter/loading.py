"""What a step trains on, drawn ahead of it by a thread."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class Ahead(Generic[T]):
    """`ahead(t)` is `draw(t)`, while a thread draws the next `count` steps of `steps` in all; 0: without a thread.

    `draw` must depend on t alone. What it raises is raised where its step is asked for. `close` ends the thread: what
    it draws just then is finished, what waits is not begun.
    """

    def __init__(self, draw: Callable[[int], T], steps: int, count: int) -> None:
        self.draw, self.steps, self.count = draw, steps, count
        self.thread = ThreadPoolExecutor(1, "batches") if count else None
        self.waiting: dict[int, Future[T]] = {}

    def __call__(self, t: int) -> T:
        if self.thread is None:
            return self.draw(t)
        for step in range(t, min(t + self.count + 1, self.steps)):
            if step not in self.waiting:
                self.waiting[step] = self.thread.submit(self.draw, step)
        return self.waiting.pop(t).result()

    def close(self) -> None:
        if self.thread is not None:
            self.thread.shutdown(cancel_futures=True)
