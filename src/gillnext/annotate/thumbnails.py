"""Pictures of layouts as data that a page holds."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from PIL import Image

from gillnext.annotate.rows import read_image
from gillnext.layouts import Layout
from gillnext.runtime.errors import UserError


def thumbnail(path: Path, side: int) -> str:
    """A data URI of the image, its longer side `side` pixels at most, or of a grey one where it cannot be read."""
    image = read_image(path)
    if isinstance(image, str):
        image = Image.new("RGB", (side, side), "#d9d9d9")
    image.thumbnail((side, side))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def picture_of(row: Layout, images: Path | None) -> Path:
    """Where a layout's image is; a layout of none raises `UserError`."""
    if not row.image_path:
        what, remedy = "a layout without an image", 'give its row an "image_path"'
        raise UserError(what, where=f"layout {row.id or row.caption!r}", remedy=remedy)
    return images / row.image_path if images else Path(row.image_path)
