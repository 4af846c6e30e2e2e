"""Pictures and what is said of them in one zip: the same pictures are the same bytes, whenever they are written."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gillnext.runtime import files

DATED = (1980, 1, 1, 0, 0, 0)  # of every entry


def write(out: Path, entries: Iterable[tuple[str, str | bytes]]) -> None:
    """Write the archive `out` of these names and contents, in their order, uncompressed; whole or not at all."""
    with files.atomic(out) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name, content in entries:
            archive.writestr(zipfile.ZipInfo(name, DATED), content)


class PictureArchive:
    """Such an archive, open."""

    def __init__(self, path: Path) -> None:
        self.archive = zipfile.ZipFile(path)

    def json(self, name: str) -> Any:
        """The content of a JSON file in it."""
        return json.loads(self.archive.read(name))

    def image(self, name: str) -> np.ndarray:
        """A picture, (H, W, 3) uint8, by its name."""
        return np.asarray(Image.open(io.BytesIO(self.archive.read(name))).convert("RGB"))
