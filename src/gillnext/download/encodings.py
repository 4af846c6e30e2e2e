"""Unpacks a body by its Content-Encoding, as browsers do: a word that names no packing is ignored."""

from __future__ import annotations

import zlib

from gillnext.download.pictures import Rejected

MEMBERS = 1000  # of one gzip body; writers that split it make one of every 64 kB


def unpacked(body: bytes, encoding: str, limit: int) -> bytes:
    """The body without its packings, the last of the list first.

    Raises `Rejected` where that is more than `limit` bytes (a small body may hold a huge one), where it is broken, and
    for a packing that is not known here.
    """
    for coding in reversed([name.strip() for name in encoding.lower().split(",")]):
        if coding in ("br", "zstd", "compress", "x-compress"):
            raise Rejected("http_error", f"content encoding {coding!r}")
        if coding in ("gzip", "x-gzip", "deflate"):
            body = inflated(body, limit)
    return body


def inflated(body: bytes, limit: int) -> bytes:
    """What gzip, zlib or bare deflate data unpack to; some servers' "deflate" lacks zlib's header."""
    try:
        return members(body, limit, wbits=47)  # gzip or zlib, told by the first bytes
    except zlib.error as error:
        try:
            return members(body, limit, wbits=-15)
        except zlib.error:
            raise Rejected("truncated", str(error)[:80]) from error


def members(body: bytes, limit: int, wbits: int) -> bytes:
    """All gzip members one behind the other, or the one stream; what follows and is no member is passed over."""
    data = bytearray()
    for _ in range(MEMBERS):
        stream = zlib.decompressobj(wbits)
        data += stream.decompress(body, limit + 1 - len(data))
        if len(data) > limit:
            raise Rejected("too_large", f"more than {limit} bytes")
        body = stream.unused_data
        if not body.startswith(b"\x1f\x8b"):
            break
    return bytes(data)
