"""A batch that cannot be answered is halved, down to one item, which is then set aside: where memory runs out, and
where one item is of a kind that a processor refuses.
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
    """Hand the device memory that torch keeps for later back."""
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_available():
        torch.cuda.empty_cache()


def halving(answer: Callable[[Sequence[Item]], Sequence[Answer]], batch: Sequence[Item]) -> list[Answer | Exception]:
    """`answer(batch)`, an answer an item; of its halves where memory runs out or a `ValueError` is raised, and that
    error for one item alone.
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
