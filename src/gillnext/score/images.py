"""A folder of scored images: NNNNN.png beside layouts.jsonl, row i for image i."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from gillnext import layouts
from gillnext.layouts import Layout
from gillnext.runtime import files
from gillnext.runtime.errors import UserError

BATCH = 64


@dataclass(frozen=True)
class ImageSet:
    """Images and what they were asked to show, in one order."""

    folder: Path
    layouts: list[Layout]
    paths: list[Path]

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def rows(self) -> Path:
        """The layouts' file, for error messages."""
        return self.folder / "layouts.jsonl"

    def batches(self, size: int = BATCH) -> Iterator[tuple[np.ndarray, list[Layout]]]:
        """(B, H, W, 3) uint8 images with their layouts, in order; a batch ends early where the size changes."""
        for start in range(0, len(self), size):
            part = [read_image(path) for path in self.paths[start : start + size]]
            for _, run in itertools.groupby(range(len(part)), key=lambda i: part[i].shape):
                places = list(run)
                rows = self.layouts[start + places[0] : start + places[-1] + 1]
                yield np.stack([part[i] for i in places]), rows


def size_of(path: Path) -> tuple[int, int]:
    """(width, height) of an image file, by its header; a missing or broken file is a `UserError`."""
    with _opened(path) as image:
        return image.size


def read_image(path: Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB; a missing or broken file is a `UserError`."""
    with _opened(path) as image:
        return np.asarray(image.convert("RGB"))


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as image:
            yield image
    except (OSError, SyntaxError) as error:
        raise UserError(
            f"not a readable image: {error}",
            where=str(path),
            remedy="delete the folder and run its stage again",
        ) from error


def read(folder: Path) -> ImageSet:
    """The images that `folder`/layouts.jsonl lists; paths are relative to the folder."""
    rows = folder / "layouts.jsonl"
    if not rows.exists():
        raise UserError("no layouts.jsonl beside the images", where=str(folder), remedy="name a folder of samples")
    content = layouts.read(rows)
    if not content:
        raise UserError("lists no image", where=str(rows), remedy="sample some images first")
    paths = [folder / (layout.image_path or f"{i:05d}.png") for i, layout in enumerate(content)]
    return ImageSet(folder, content, paths)


def write(folder: Path, pictures: Iterable[np.ndarray], rows: Sequence[Layout]) -> ImageSet:
    """NNNNN.png and layouts.jsonl in `folder`, whole or not at all."""
    with files.atomic(folder) as temporary:
        temporary.mkdir()
        for i, picture in enumerate(pictures):
            Image.fromarray(picture).save(temporary / f"{i:05d}.png", compress_level=1)
        named = (dataclasses.replace(row, image_path=f"{i:05d}.png") for i, row in enumerate(rows))
        layouts.write(temporary / "layouts.jsonl", named)
    return read(folder)
