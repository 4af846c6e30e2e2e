"""Is this body a picture, and a whole one? Magic bytes first, then a full decode."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageOps

from gillnext.config.data import Download

# Kinds of outcome of a row. "ok" is the only one with an image; "duplicate" is given at the end.
KINDS = (
    "ok", "duplicate", "not_found", "unknown_host", "http_error", "server_error", "timeout", "connection",
    "certificate", "truncated", "not_image", "too_small", "too_large", "too_long", "redirect_loop", "refused",
)  # fmt: skip
ORIENTATION = 0x0112  # the EXIF tag that tells how a camera was held; 1: upright
TURNED = range(2, 9)  # its other values; what is none of them says nothing
# 16-bit grey values in 8 bits, rounded (PNG specification, section 13.12); Pillow itself cuts them off at 255.
EIGHT_BITS = [(value * 255 + 32767) // 65535 for value in range(65536)]

SCAN, SCANS = b"\xff\xda", 500  # a JPEG's scans begin so; each goes over the whole picture, and none needs so many

_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"BM")


class Rejected(Exception):
    """A row's end without an image: the kind of outcome, and a detail for the status table."""

    def __init__(self, kind: str, detail: str = "", after: float = 0.0) -> None:
        self.kind, self.detail, self.after = kind, detail, after  # after: seconds that the server asks to wait
        super().__init__(f"{kind}: {detail}")


@dataclass(frozen=True)
class Picture:
    """A checked picture, upright: the bytes to keep (RGB JPEG as received, else PNG), size in pixels, SHA-256.

    Of an animation it is the first frame. What is transparent lies on white, as on most pages.
    """

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
            covered = image.tile[0].extents if image.format == "GIF" else None
            image.load()
            turn = orientation(image)
            as_received = turn is not None and turn not in TURNED  # of broken EXIF, later readers are spared
            if body.startswith(_MAGIC[0]) and image.mode == "RGB" and as_received:
                return Picture(body, ".jpg", *image.size, hashlib.sha256(body).hexdigest())
            profile = image.info.get("icc_profile", b"")
            flat = on_white(eight_bits(image, body[24]) if image.format == "PNG" else image, covered)
            flat.getexif()[ORIENTATION] = turn
            ImageOps.exif_transpose(flat, in_place=True)
            width, height = flat.size
            buffer = io.BytesIO()
            flat.save(buffer, "PNG", icc_profile=profile if profile[16:20] == b"RGB " else None)
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


def orientation(image: Image.Image) -> Any:
    """The EXIF orientation; 1 where none is given, None where the EXIF block is broken."""
    try:
        return image.getexif().get(ORIENTATION, 1)
    except Exception:  # of hostile bytes, EXIF readers make struct.error, SyntaxError and worse
        return None


def eight_bits(image: Image.Image, depth: int) -> Image.Image:
    """A PNG's picture, and its transparent colour if it has one, in 8 bits a channel.

    Pillow cuts 16-bit grey off at 255, and leaves the colour in the file's `depth`, 1 to 16 bits.
    """
    clear = image.info.get("transparency")
    if image.mode == "I;16":
        wide = image.convert("I")
        alpha = wide.point([255 * (value != clear) for value in range(65536)], "L")
        return Image.merge("LA", (wide.point(EIGHT_BITS, "L"), alpha))
    if image.mode == "L" and clear is not None:
        image.info["transparency"] = clear * 255 // (2**depth - 1)
    if image.mode == "RGB" and depth == 16 and clear is not None:
        image.info["transparency"] = tuple(value >> 8 for value in clear)
    return image


def on_white(image: Image.Image, covered: tuple[int, int, int, int] | None) -> Image.Image:
    """The picture in RGB, `colour · alpha + white · (1 - alpha)`, without whatever else the file says.

    `covered` is the part, (left, top, right, bottom) in pixels, that an animated first frame covers; None: all of it.
    """
    flat = Image.new("RGB", image.size, "white")
    if covered:
        image = image.crop(covered)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        flat.paste(image, covered, mask=image)
    else:
        flat.paste(image, covered)
    return flat


def _check_size(width: int, height: int, settings: Download) -> None:
    """Refuse by the header, before anything is decoded."""
    short, long = sorted((width, height))
    if short < settings.min_side:
        raise Rejected("too_small", f"{width}×{height}")
    if width * height > settings.max_pixels:
        raise Rejected("too_large", f"{width}×{height}")
    if long > settings.max_aspect * short:
        raise Rejected("too_long", f"{width}×{height}")
