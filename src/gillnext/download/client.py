"""One row's way to its picture: checked addresses, time limits, redirects, retries with backoff.

Only http and https are asked for, and only public addresses: a host that resolves to a private network,
loopback or link-local address is refused, whether it comes from a shard or from a redirect. `mapped` names
the hosts that stand for a server of ours (the demo world's host), and where it listens.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import zlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from gillnext.config.model import Download
from gillnext.download.pictures import Picture, Rejected, check

REDIRECTS = 5  # hops before a chain of redirects counts as a loop
AGENT = "gillnext/0.1 (dataset download for research)"
PASSING = frozenset({"server_error", "connection", "timeout", "truncated"})  # errors that may pass
ONCE = frozenset({"timeout", "truncated"})  # of these, a second try is enough


def public(address: str) -> bool:
    """Whether an IP address is one of the public internet."""
    ip = ipaddress.ip_address(address.split("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    return ip.is_global and not ip.is_multicast


class Resolver(AbstractResolver):
    """Mapped hosts go to their server; other hosts are resolved as usual and must be public.

    The connection goes to the very address that was checked, so a name cannot change in between.
    """

    def __init__(self, mapped: Mapping[str, tuple[str, int]]) -> None:
        self.mapped, self.usual = mapped, aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        if host in self.mapped:
            ip, port = self.mapped[host]
            numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
            return [ResolveResult(hostname=host, host=ip, port=port, family=socket.AF_INET, proto=0, flags=numeric)]
        found = await self.usual.resolve(host, port, family)
        if not all(public(entry["host"]) for entry in found):
            raise Rejected("refused", f"{host} is not a public address")
        return found

    async def close(self) -> None:
        await self.usual.close()


def check_url(url: str) -> None:
    """Refuse anything but http and https to a named host or a public address."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise Rejected("refused", f"not a URL: {error}") from error
    if parts.scheme not in ("http", "https") or not host:
        raise Rejected("refused", f"scheme {parts.scheme or 'none'!r}")
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return
    if not public(str(ip)):
        raise Rejected("refused", f"{host} is not a public address")


def retry_after(value: str) -> float:
    """Seconds that a Retry-After header asks to wait, a number or a date; 0 where it says neither."""
    try:
        seconds = float(value)
        return seconds if seconds > 0 else 0.0
    except ValueError:
        pass
    try:
        return max((parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds(), 0.0)
    except (ValueError, TypeError):
        return 0.0


def unpacker(encoding: str) -> Callable[[bytes, int], bytes]:
    """(piece, most) → at most that many bytes of what the piece unpacks to: a small body may hold a huge one."""
    if encoding in ("", "identity"):
        return lambda piece, most: piece
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise Rejected("http_error", f"content encoding {encoding!r}")
    stream = zlib.decompressobj(wbits=47)  # gzip or zlib, told by its first bytes

    def unpack(piece: bytes, most: int) -> bytes:
        try:
            return stream.decompress(piece, most)
        except zlib.error as error:
            raise Rejected("truncated", str(error)[:80]) from error

    return unpack


class Client:
    """`await fetch(url)` gives a checked `Picture` or raises `Rejected` with the kind of failure."""

    def __init__(self, settings: Download, mapped: Mapping[str, tuple[str, int]] | None = None) -> None:
        self.settings, self.mapped = settings, dict(mapped or {})

    async def __aenter__(self) -> Client:
        limits = aiohttp.ClientTimeout(sock_connect=self.settings.connect_timeout, sock_read=self.settings.read_timeout)
        connector = aiohttp.TCPConnector(
            resolver=Resolver(self.mapped), limit=self.settings.concurrency, limit_per_host=self.settings.per_host
        )
        self.session = aiohttp.ClientSession(
            connector=connector,
            timeout=limits,
            headers={"User-Agent": AGENT, "Accept-Encoding": "identity"},
            auto_decompress=False,  # `_body` does so, with a limit
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()

    async def fetch(self, url: str) -> Picture:
        """Try, and try again after an error that may pass, with a doubled wait each time, or the server's own."""
        wait, tries = self.settings.backoff, 0
        while True:
            try:
                return await self._attempt(url)
            except Rejected as failure:
                tries += 1
                allowed = min(self.settings.retries, 1) if failure.kind in ONCE else self.settings.retries
                if failure.kind not in PASSING or tries > allowed or failure.after > self.settings.patience:
                    raise
                asked = failure.after
            await asyncio.sleep(max(wait, asked))
            wait *= 2

    async def _attempt(self, url: str) -> Picture:
        try:
            async with asyncio.timeout(self.settings.total_timeout):
                body = await self._follow(url)
        except TimeoutError as error:
            raise Rejected("timeout", type(error).__name__) from error
        except aiohttp.ClientPayloadError as error:
            raise Rejected("truncated", str(error)[:80]) from error
        except (aiohttp.InvalidURL, ValueError) as error:
            raise Rejected("refused", str(error)[:80]) from error
        except (aiohttp.ClientError, OSError) as error:
            raise Rejected("connection", f"{type(error).__name__}: {error}"[:80]) from error
        return await asyncio.to_thread(check, body, self.settings)

    async def _follow(self, url: str) -> bytes:
        """The body at the end of the redirects; every hop is checked like the first address."""
        for _ in range(REDIRECTS + 1):
            check_url(url)
            async with self.session.get(url, allow_redirects=False) as response:
                if response.status in (301, 302, 303, 307, 308) and "Location" in response.headers:
                    url = urljoin(url, response.headers["Location"])
                    continue
                return await self._body(response)
        raise Rejected("redirect_loop", f"more than {REDIRECTS} redirects")

    async def _body(self, response: Any) -> bytes:
        status = response.status
        if status != 200:
            passing = status >= 500 or status == 429
            kind = "not_found" if status in (404, 410) else "server_error" if passing else "http_error"
            raise Rejected(kind, f"status {status}", retry_after(response.headers.get("Retry-After", "")))
        limit = self.settings.max_bytes
        if (response.content_length or 0) > limit:
            raise Rejected("too_large", f"{response.content_length} bytes")
        unpack = unpacker(response.headers.get("Content-Encoding", "identity").strip().lower())
        body = bytearray()
        async for piece in response.content.iter_any():
            body += unpack(piece, limit + 1 - len(body))
            if len(body) > limit:
                raise Rejected("too_large", f"more than {limit} bytes")
        return bytes(body)
