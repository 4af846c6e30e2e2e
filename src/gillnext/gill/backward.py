"""The ways to run backward over a step's losses: at once, one by one, or one by one on each half of the batch.

`summed` holds the graphs of all losses, `split` one at a time, `accumulated` one of half a batch. Gradients are cleared
by the caller, after all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

Loss = Callable[[int, int], Tensor]  # of micro-batch `index` of `parts`, weighted so that the micro-batches' sum counts
PARTS = 2  # micro-batches of the mode `accumulated`


def of_part(loss: Callable[[Any], Tensor], batch: Any) -> Loss:
    """`loss` of a micro-batch of `batch`, times its share of the samples."""

    def weighted(index: int, parts: int) -> Tensor:
        if parts == 1:
            return loss(batch)
        part = batch.part(index, parts)
        return loss(part) * (len(part) / len(batch))

    return weighted


def step(
    losses: Iterable[Loss],
    mode: str,
    live: Callable[[], int] = lambda: 0,
    backward: Callable[[Tensor], None] = torch.Tensor.backward,
) -> int:
    """Forward and backward of one step; returns the most bytes held when the last forward before a backward ended."""
    held = 0
    if mode in ("split", "accumulated"):
        parts = PARTS if mode == "accumulated" else 1
        for index in range(parts):
            for loss in losses:
                value = loss(index, parts)
                held = max(held, live())
                backward(value)
                del value
        return held
    total: Tensor | float = 0.0
    for loss in losses:
        total = total + loss(0, 1)
    held = live()
    backward(total)  # type: ignore[arg-type]
    return held
