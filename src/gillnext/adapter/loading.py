"""Draws the batches of later steps in a thread while a step is trained."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class Ahead(Generic[T]):
    """`ahead(t)` is `draw(t)`. A thread draws for the next `count` of `steps` steps meanwhile; 0: there is no thread.

    `draw` must depend on t alone. An error that it raises is raised when its step is asked for. `close` ends the
    thread: it finishes the batch that it is drawing, and begins no other.
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
