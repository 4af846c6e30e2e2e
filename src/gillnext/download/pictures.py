"""Is this body a picture, and a whole one? Magic bytes first, then a full decode."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass

from PIL import Image, ImageOps

from gillnext.config.data import Download

# Kinds of outcome of a row. "ok" is the only one with an image; "duplicate" is given at the end.
KINDS = (
    "ok", "duplicate", "not_found", "unknown_host", "http_error", "server_error", "timeout", "connection", "truncated",
    "not_image", "too_small", "too_large", "too_long", "redirect_loop", "refused",
)  # fmt: skip
ORIENTATION = 0x0112  # the EXIF tag that tells how a camera was held; 1: upright

SCAN, SCANS = b"\xff\xda", 500  # a JPEG's scans begin so; each goes over the whole picture, and none needs so many

_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"BM")


class Rejected(Exception):
    """A row's end without an image: the kind of outcome, and a detail for the status table."""

    def __init__(self, kind: str, detail: str = "", after: float = 0.0) -> None:
        self.kind, self.detail, self.after = kind, detail, after  # after: seconds that the server asks to wait
        super().__init__(f"{kind}: {detail}")


@dataclass(frozen=True)
class Picture:
    """A checked picture, upright: the bytes to keep (RGB JPEG as received, else PNG), size in pixels, SHA-256."""

    data: bytes
    suffix: str
    width: int
    height: int
    sha256: str


def is_picture(body: bytes) -> bool:
    """Whether the first bytes are those of JPEG, PNG, GIF, BMP or WebP."""
    return body.startswith(_MAGIC) or (body[:4] == b"RIFF" and body[8:12] == b"WEBP")


def check(body: bytes, settings: Download) -> Picture:
    """The picture in `body`, decoded in full; `Rejected` where it is none, broken, too small, too large or too long."""
    if not is_picture(body):
        raise Rejected("not_image", f"starts with {body[:12]!r}")
    if body.startswith(_MAGIC[0]) and body.count(SCAN) > SCANS:
        raise Rejected("too_large", f"{body.count(SCAN)} scans")
    try:
        with Image.open(io.BytesIO(body)) as image:
            _check_size(*image.size, settings)
            image.load()
            upright = image.getexif().get(ORIENTATION, 1) == 1
            if upright and image.format == "JPEG" and image.mode == "RGB":
                return Picture(body, ".jpg", *image.size, hashlib.sha256(body).hexdigest())
            turned = image if upright else ImageOps.exif_transpose(image)
            width, height = turned.size
            buffer = io.BytesIO()
            turned.convert("RGB").save(buffer, "PNG")
    except Rejected:
        raise
    except Image.DecompressionBombError as error:  # by Pillow itself, before the size can be looked at
        raise Rejected("too_large", str(error)[:80]) from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise Rejected("truncated", str(error)[:80]) from error
    except Exception as error:  # of hostile bytes, decoders and EXIF readers make struct.error, IndexError and worse
        raise Rejected("truncated", f"{type(error).__name__}: {error}"[:80]) from error
    data = buffer.getvalue()
    return Picture(data, ".png", width, height, hashlib.sha256(data).hexdigest())


def _check_size(width: int, height: int, settings: Download) -> None:
    """Refuse by the header, before anything is decoded."""
    short, long = sorted((width, height))
    if short < settings.min_side:
        raise Rejected("too_small", f"{width}×{height}")
    if width * height > settings.max_pixels:
        raise Rejected("too_large", f"{width}×{height}")
    if long > settings.max_aspect * short:
        raise Rejected("too_long", f"{width}×{height}")
