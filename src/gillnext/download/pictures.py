"""Is this body a picture, and a whole one? Magic bytes first, then a full decode."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass

from PIL import Image

# Kinds of outcome of a row. "ok" is the only one with an image; "duplicate" is given at the end.
KINDS = (
    "ok", "duplicate", "not_found", "http_error", "server_error", "timeout", "connection", "truncated",
    "not_image", "too_small", "too_large", "redirect_loop", "refused",
)  # fmt: skip
PIXELS = 100_000_000  # larger pictures are not decoded

_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"BM")


class Rejected(Exception):
    """A row's end without an image: the kind of outcome, and a detail for the status table."""

    def __init__(self, kind: str, detail: str = "") -> None:
        self.kind, self.detail = kind, detail
        super().__init__(f"{kind}: {detail}")


@dataclass(frozen=True)
class Picture:
    """A checked picture: the bytes to keep (RGB JPEG as received, else PNG), size in pixels, SHA-256."""

    data: bytes
    suffix: str
    width: int
    height: int
    sha256: str


def is_picture(body: bytes) -> bool:
    """Whether the first bytes are those of JPEG, PNG, GIF, BMP or WebP."""
    return body.startswith(_MAGIC) or (body[:4] == b"RIFF" and body[8:12] == b"WEBP")


def check(body: bytes, min_side: int) -> Picture:
    """The picture in `body`, decoded in full; `Rejected` where it is none, broken, too small or too large."""
    if not is_picture(body):
        raise Rejected("not_image", f"starts with {body[:12]!r}")
    try:
        with Image.open(io.BytesIO(body)) as image:
            width, height = image.size
            if min(width, height) < min_side:
                raise Rejected("too_small", f"{width}×{height}")
            if width * height > PIXELS:
                raise Rejected("too_large", f"{width}×{height}")
            image.load()
            if image.format == "JPEG" and image.mode == "RGB":
                return Picture(body, ".jpg", width, height, hashlib.sha256(body).hexdigest())
            buffer = io.BytesIO()
            image.convert("RGB").save(buffer, "PNG")
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise Rejected("truncated", str(error)[:80]) from error
    data = buffer.getvalue()
    return Picture(data, ".png", width, height, hashlib.sha256(data).hexdigest())
