"""Boxes drawn over a picture, with Chinese names beside them."""

from __future__ import annotations

from importlib import resources

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gillnext.layouts import Layout

# Okabe & Ito's palette, which colour-blind readers can tell apart.
COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def font(size: int) -> ImageFont.FreeTypeFont:
    """Noto Sans CJK from the environment's own packages."""
    folder = resources.files("mplfonts") / "fonts"
    path = next(p for p in sorted(folder.iterdir(), key=str) if "NotoSansCJK" in p.name and "Regular" in p.name)
    return ImageFont.truetype(str(path), size)


def draw_boxes(image: np.ndarray, layout: Layout, scale: int = 8) -> Image.Image:
    """The (H, W, 3) uint8 picture, enlarged `scale` times, with the layout's boxes and names."""
    height, width = image.shape[:2]
    canvas = Image.fromarray(image).resize((width * scale, height * scale), Image.Resampling.NEAREST)
    side = max(canvas.size)
    pen, text = ImageDraw.Draw(canvas), font(max(2 * scale, side // 32, 10))
    for i, (name, box) in enumerate(zip(layout.names, layout.boxes, strict=True)):
        x1, y1, x2, y2 = (v * s * scale for v, s in zip(box, (width, height) * 2, strict=True))
        colour = COLOURS[i % len(COLOURS)]
        pen.rectangle((x1, y1, x2, y2), outline=colour, width=max(scale // 3, side // 256, 1))
        label = pen.textbbox((x1 + 3, y1 + 1), name, font=text)
        pen.rectangle((label[0] - 3, label[1] - 2, label[2] + 3, label[3] + 2), fill=colour)
        pen.text((x1 + 3, y1 + 1), name, font=text, fill="white")
    return canvas
