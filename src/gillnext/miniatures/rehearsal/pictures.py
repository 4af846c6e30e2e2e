"""The world's pictures as the web has them: of odd sizes and aspect ratios, in every format that is downloaded."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image

from gillnext.download.pictures import ORIENTATION
from gillnext.miniatures.world import scenes
from gillnext.miniatures.world.scenes import Scene
from gillnext.runtime import seeds

SHORT, ASPECTS = (64, 160), (0.5, 2.0)  # pixels of the shorter side; width over height


def _plain(kind: str, **options: object) -> Callable[[Image.Image], bytes]:
    def save(image: Image.Image) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        return buffer.getvalue()

    return save


def _turned(image: Image.Image) -> bytes:
    """A camera's: stored a quarter turn off, with the EXIF tag that says so."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # to be turned by 270° against the clock
    return _plain("JPEG", quality=92, exif=exif)(image.transpose(Image.Transpose.ROTATE_90))


FORMATS: dict[str, Callable[[Image.Image], bytes]] = {
    "jpeg": _plain("JPEG", quality=92),
    "progressive": _plain("JPEG", quality=85, progressive=True),
    "turned": _turned,
    "cmyk": lambda image: _plain("JPEG", quality=92)(image.convert("CMYK")),
    "png": _plain("PNG"),
    "palette": lambda image: _plain("PNG")(image.quantize(256)),
    "transparent": lambda image: _plain("PNG")(image.convert("RGBA")),
    "webp": _plain("WEBP", quality=90),
    "gif": lambda image: _plain("GIF")(image.quantize(256)),
    "bmp": _plain("BMP"),
}


def size(name: str) -> tuple[int, int]:
    """Width and height of the picture of this name."""
    rng = seeds.rng("rehearsal-size", name)
    short, aspect = rng.integers(SHORT[0], SHORT[1] + 1), np.exp(rng.uniform(*np.log(ASPECTS)))
    return (round(short * aspect), int(short)) if aspect > 1 else (int(short), round(short / aspect))


def kind(name: str) -> str:
    """Format of the picture of this name."""
    return list(FORMATS)[seeds.key("rehearsal-format", name) % len(FORMATS)]


def encoded(scene: Scene, name: str) -> bytes:
    """A scene at the size and in the format of this name; its boxes are the same fractions of the picture."""
    wanted = size(name)
    drawn = Image.fromarray(scenes.render(scene, max(wanted)))
    return FORMATS[kind(name)](drawn.resize(wanted, Image.Resampling.LANCZOS))
