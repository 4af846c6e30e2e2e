"""Snapshots of an adapter in training: its averaged weights after some steps, in folders like the adapter's own.

    adapters/attn2/0/                   the trained adapter, after the last step
    adapters/attn2/0/snapshots/000100/  after 100 steps

Stage `curve` draws with them, so that training needs neither pictures nor what looks at them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from diffusers import ModelMixin

from gillnext.runtime import files

FOLDER = "snapshots"


def due(every: int | None, usual: int, total: int) -> list[int]:
    """The steps after which a snapshot is taken: every `every` steps; the last step's is the adapter itself.

    An arm that trains for more steps (`total`) than is `usual` has the other arms' snapshots up to there and then, for
    time, as many times rarer ones as it is longer.
    """
    rarer = max(total // usual, 1)
    return [step for step in range(1, total) if every and not step % (every if step <= usual else every * rarer)]


def place(adapter: Path, step: int) -> Path:
    """Where the snapshot after `step` steps lies."""
    return adapter / FOLDER / f"{step:06d}"


def write(folder: Path, models: Mapping[str, ModelMixin]) -> None:
    """Save each model into `folder` or the folder in it that is its name."""
    for name, model in models.items():
        model.save_pretrained(folder / name)


def read(adapter: Path) -> dict[int, Path]:
    """Step -> folder of every snapshot of a trained adapter and of the adapter itself, in order; {} without any."""
    taken = {int(folder.name): folder for folder in sorted((adapter / FOLDER).glob("[0-9]*"))}
    return taken and taken | {int(files.read_json(adapter / "training.json")["steps"]): adapter}
