"""Accepts heads of answers that browsers accept and aiohttp's parsers refuse: those that state a length twice.

aiohttp's parser in C refuses a second Content-Length, even an equal one. Its parser in Python accepts that, but refuses
an empty line behind a body. Both refuse a chunked body with a length; the length is to be ignored there (RFC 9112,
section 6.3).
"""

from __future__ import annotations

import re
from typing import Any

from aiohttp import client_proto
from aiohttp.http_exceptions import BadHttpMessage
from aiohttp.http_parser import HttpResponseParser

HEAD = 262_144  # bytes that a head may have, as in Chromium
LINE, LINES = 65_536, 256  # bytes of a line, and lines
END = re.compile(rb"\n\r?\n")
LENGTH = re.compile(rb"(?mi)^content-length:(.*)\n")
CHUNKED = re.compile(rb"(?mi)^transfer-encoding:.*\bchunked[ \t]*\r?$")


class Parser(HttpResponseParser):
    """aiohttp's, behind what mends the head. One answer has one parser."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.head: bytearray | None = bytearray()  # what has come of it; None once it is whole

    def feed_data(self, data: bytes) -> Any:  # type: ignore[override]
        if self.head is None:
            return super().feed_data(data)
        searched = max(len(self.head) - 2, 0)  # an end may have come in pieces
        self.head += data
        end = END.search(self.head, searched)
        if (end.end() if end else len(self.head)) > HEAD:
            raise BadHttpMessage(f"a head of more than {HEAD} bytes")
        if end is None:
            return (), False, b""
        lines, rest = bytes(self.head[: end.start() + 1]), bytes(self.head[end.start() + 1 :])
        self.head = None
        return super().feed_data(mended(lines) + rest)


def mended(head: bytes) -> bytes:
    """The lines of a head with one Content-Length where all say the same, and with none where the body is chunked."""
    if CHUNKED.search(head):
        return LENGTH.sub(b"", head)
    lengths = [value.strip() for value in LENGTH.findall(head)]
    if len(lengths) > 1 and len(set(lengths)) == 1:
        return LENGTH.sub(b"", head, count=len(lengths) - 1)
    return head


def install() -> None:
    """Let aiohttp's clients parse so; no option of theirs names a parser."""
    client_proto.HttpResponseParser = Parser  # type: ignore[misc]
