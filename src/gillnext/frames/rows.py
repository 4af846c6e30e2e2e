"""Read the dataset that `gillnext frames` wrote, with the frames that it names."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gillnext.frames import clips as sources
from gillnext.frames.augment import Augmentation
from gillnext.runtime.errors import UserError

COLUMNS = ("input_frames", "edit_prompt", "edited_image")


def load(folder: Path) -> Any:
    """The splits of a dataset folder; `UserError` where it is none of ours."""
    from datasets import load_from_disk

    if not (folder / "dataset_dict.json").is_file():
        raise UserError("no dataset there", where=str(folder), remedy="the folder that `gillnext frames` wrote")
    found = load_from_disk(str(folder))
    for split, rows in found.items():
        if missing := [name for name in COLUMNS if name not in rows.column_names]:
            where = f"{folder}, split {split}"
            raise UserError(f"column {missing[0]!r} is missing", where=where, remedy=f"columns {', '.join(COLUMNS)}")
    return found


def name_of(row: dict[str, Any]) -> str:
    """The clip's folder in its split's; of a single picture the picture's own path."""
    first = row["input_frames"][0]
    return first.rpartition("/")[0] if len(row["input_frames"]) > 1 else first


def pictures(row: dict[str, Any], folder: Path) -> list[Image.Image]:
    """Frames and target of a row of the dataset; `UserError` where a frame is not there any more."""
    found = [sources.picture(folder / path, name_of(row)) for path in row["input_frames"]]
    image = row["edited_image"]
    if isinstance(image, dict):
        image = Image.open(io.BytesIO(image["bytes"]))
    return [*found, image.convert("RGB")]


def seen(data: Path, clips: Path, split: str, side: int) -> dict[str, np.ndarray]:
    """Of each clip its first, middle and last frame, the mean of its frames, and the target, each (N, H, W, 3)."""
    found: dict[str, list[np.ndarray]] = {name: [] for name in ("first", "middle", "last", "mean", "target")}
    for row in load(data)[split]:
        pixels = Augmentation()(pictures(row, clips / split), side)  # (F + 1, H, W, 3)
        mean = np.floor(pixels[:-1].mean(0) + 0.5).astype(np.uint8)
        parts = (pixels[0], pixels[(len(pixels) - 1) // 2], pixels[-2], mean, pixels[-1])
        for name, part in zip(found, parts, strict=True):
            found[name].append(part)
    return {name: np.stack(parts) for name, parts in found.items()}
