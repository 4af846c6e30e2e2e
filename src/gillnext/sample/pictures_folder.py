"""A folder of pictures that are being drawn: its files, whose work it is, and what they are drawn in."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from gillnext.config.model import Config
from gillnext.runtime import files, training

Keys = Sequence[tuple[str | int, ...]]  # a name for each picture's noise


def save_png(path: Path, image: np.ndarray) -> None:
    with files.atomic(path) as temporary:
        Image.fromarray(image).save(temporary, "PNG")


def name_of(index: int) -> str:
    return f"{index:05d}.png"


def open_work(work: Path, identity: str) -> None:
    """The folder of unfinished pictures, emptied if another run left it."""
    marker = work / "identity.json"
    if work.exists() and (not marker.exists() or files.read_json(marker) != identity):
        shutil.rmtree(work)
    files.write_json(marker, identity)


def dtype(cfg: Config) -> torch.dtype:
    """What pictures are drawn in: the type of `run.precision` on a GPU, float32 on a CPU."""
    return training.TYPES[cfg.run.precision] if cfg.run.device.startswith("cuda") else torch.float32
