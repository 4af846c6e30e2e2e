"""Bytes of live tensors, counted exactly: every storage from its first appearance until it is freed."""

from __future__ import annotations

import itertools
import weakref
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter


class LiveBytes(TorchDispatchMode):
    """While active, `live` is the bytes of storages made since it was entered and not yet freed; `peak` its maximum.

    Counts forward and backward alike, recomputation included; storages that existed before are not counted. `history`
    has the live bytes after each operation.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self.history: list[int] = []
        self._known: set[int] = set()

    def _freed(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live -= size

    def _see(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self._known and size:
            self._known.add(key)
            self.live += size
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self._freed, key, size)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before = {
            x.untyped_storage()._cdata for x in tree_iter((args, kwargs)) if isinstance(x, torch.Tensor)
        } - self._known
        out = func(*args, **(kwargs or {}))
        for x in tree_iter(out):
            if isinstance(x, torch.Tensor) and x.untyped_storage()._cdata not in before:
                self._see(x)
        self.history.append(self.live)
        return out

    def trace(self, points: int = 200) -> list[list[float]]:
        """`history` as at most `points` pairs [share of the operations, bytes]: the most of each stretch, then the end.

        The highest point is `peak`, the last one what is alive now.
        """
        total, stretches = len(self.history), min(points - 1, len(self.history))
        edges = [round(i * total / stretches) for i in range(stretches + 1)]
        pairs: list[list[float]] = [
            [round(end / total, 6), max(self.history[start:end])] for start, end in itertools.pairwise(edges)
        ]
        return [*pairs, [1.0, self.live]]
