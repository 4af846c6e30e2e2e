"""Out of memory halves the batch, down to one item, which is then set aside."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that host or device memory ran out."""
    text = str(error).lower()
    told = "out of memory" in text or "can't allocate memory" in text or "cannot allocate memory" in text
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or told


def free_memory() -> None:
    """Hand the device memory that torch keeps for later back."""
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_available():
        torch.cuda.empty_cache()


def halving(answer: Callable[[Sequence[Item]], Sequence[Answer]], batch: Sequence[Item]) -> list[Answer | None]:
    """`answer(batch)`, an answer an item; where memory runs out, of its halves, and None for one item alone."""
    try:
        return list(answer(batch))
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
    free_memory()
    if len(batch) == 1:
        return [None]
    half = len(batch) // 2
    return [one for part in (batch[:half], batch[half:]) for one in halving(answer, part)]
