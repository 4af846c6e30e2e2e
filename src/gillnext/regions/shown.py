"""Pictures of edits as files: plain, and with box and anchors drawn over them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from gillnext.layouts import Box
from gillnext.overlay import COLOURS
from gillnext.runtime import files

REGIONS = "regions.jsonl"  # in a folder of edits: what each was made in
SIDE = 256  # pixels a side that small pictures are enlarged to


def save_png(path: Path, image: np.ndarray | Image.Image) -> None:
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    with files.atomic(path) as temporary:
        picture.save(temporary, "PNG")


def with_boxes(
    source: np.ndarray, edited: np.ndarray, box: Box, anchors: Sequence[tuple[float, float]] = ()
) -> Image.Image:
    """Source and edited picture (H, W, 3) uint8 side by side, enlarged, with box and anchors (x, y in [0, 1])."""
    scale = max(SIDE // max(source.shape[:2]), 1)
    height, width = source.shape[0] * scale, source.shape[1] * scale
    canvas = Image.new("RGB", (2 * width, height))
    pen, line = ImageDraw.Draw(canvas), max(height // 128, 1)
    for i, pixels in enumerate((source, edited)):
        canvas.paste(Image.fromarray(pixels).resize((width, height), Image.Resampling.NEAREST), (i * width, 0))
        x1, y1, x2, y2 = (v * side for v, side in zip(box, (width, height) * 2, strict=True))
        corner = (i * width + x1, y1, i * width + max(x2 - 1, x1), max(y2 - 1, y1))
        pen.rectangle(corner, outline=COLOURS[0], width=line)
    for x, y in anchors:
        at, radius = (x * width, y * height), 2 * line
        pen.ellipse((at[0] - radius, at[1] - radius, at[0] + radius, at[1] + radius), fill=COLOURS[1])
    return canvas
