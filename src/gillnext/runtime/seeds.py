"""Randomness by name and index: the same draw whatever the batch size, worker count or resume point."""

from __future__ import annotations

import hashlib

import numpy as np


def key(*names: str | int) -> int:
    """A 63-bit integer that depends on every name; stable across processes and versions."""
    digest = hashlib.sha256("\x1f".join(map(str, names)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def rng(*names: str | int) -> np.random.Generator:
    """A NumPy generator for one sample, e.g. ``rng("scene", seed, index)``."""
    return np.random.Generator(np.random.Philox(key=key(*names)))


def torch_generator(*names: str | int):
    """A CPU torch generator for one sample or training step."""
    import torch

    return torch.Generator().manual_seed(key(*names))
