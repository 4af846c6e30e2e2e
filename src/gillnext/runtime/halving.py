"""Halves a batch that a model cannot answer, until single items are left; a single item that fails is set aside.

A batch fails where memory runs out, and where a processor refuses one of its items.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that host or device memory ran out."""
    text = str(error).lower()
    by_text = "out of memory" in text or "can't allocate memory" in text or "cannot allocate memory" in text
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or by_text


def free_memory() -> None:
    """Give back the device memory that torch keeps for later."""
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_available():
        torch.cuda.empty_cache()


def halving(answer: Callable[[Sequence[Item]], Sequence[Answer]], batch: Sequence[Item]) -> list[Answer | Exception]:
    """`answer(batch)`: an answer for each item. Where memory runs out, or a `ValueError` is raised, the halves are
    answered instead. A single item that fails gets the error as its answer.
    """
    try:
        return list(answer(batch))
    except (MemoryError, RuntimeError, ValueError) as error:
        if not (out_of_memory(error) or isinstance(error, ValueError)):
            raise
        failed = error.with_traceback(None)  # which holds what was in memory
    free_memory()
    if len(batch) == 1:
        return [failed]
    half = len(batch) // 2
    return [one for part in (batch[:half], batch[half:]) for one in halving(answer, part)]
