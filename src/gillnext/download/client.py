"""One row's way to its picture: checked addresses, time limits, redirects, retries with backoff.

Only http and https are asked for, and only public addresses: a host that resolves to a private network,
loopback or link-local address is refused, whether it comes from a shard or from a redirect. `mapped` names
the hosts that stand for a server of ours (the demo world's host), and where it listens.

A host gets `per_host` requests at a time, and none for as long as it asks to be left alone (Retry-After); waiting for
either takes nothing from a row's time. Names are looked up, and pictures decoded, in threads of their own.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import time
from collections import defaultdict
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.helpers import is_ip_address
from yarl import URL

from gillnext.config.data import Download
from gillnext.download import heads
from gillnext.download.encodings import unpacked
from gillnext.download.links import link
from gillnext.download.pictures import Picture, Rejected, check

REDIRECTS = 5  # hops before a chain of redirects counts as a loop
AGENT = "gillnext/0.1 (dataset download for research)"
# Errors that are tried again at once. A timeout, which costs the most, is tried again once, by the stage at its end.
PASSING = frozenset({"server_error", "connection", "truncated"})
NO_SUCH_NAME = (socket.EAI_NONAME, socket.EAI_NODATA)
NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
UNICAST = ipaddress.IPv6Network("2000::/3")  # all that IANA hands out: the rest is local, multicast or reserved
ASSIGNED = ipaddress.IPv4Network("192.0.0.0/24")  # to protocols (RFC 6890); most of it is_global for Python 3.11
# Networks whose addresses end in the IPv4 address that their packets go to: compatible, mapped, NAT64 (RFC 6052).
CARRIERS = tuple(map(ipaddress.IPv6Network, ("::/96", "::ffff:0:0/96", "64:ff9b::/96")))


def public(address: str) -> bool:
    """Whether an IP address is one of the public internet; of an IPv6 address with an IPv4 one inside, the inner one.

    Raises `ValueError` for what is no address.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.sixtofour
        if any(ip in network for network in CARRIERS):
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is None:
            return ip in UNICAST and ip.is_global
        ip = inner
    return ip.is_global and not ip.is_multicast and not ip.is_reserved and ip not in ASSIGNED


class Resolver(AbstractResolver):
    """Mapped hosts go to their server; other hosts are looked up, `threads` at a time, and must be public.

    The connection goes to the very address that was checked, so a name cannot change in between.
    """

    def __init__(self, mapped: Mapping[str, tuple[str, int]], threads: int = 8) -> None:
        # Dead names take many seconds each: in asyncio's few threads they would hold up the disk, and one another.
        self.mapped, self.threads = mapped, ThreadPoolExecutor(max(threads, 1), thread_name_prefix="names")
        self.unknown: set[str] = set()  # names that are known not to exist: of an old release, hosts of many rows

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        if host in self.mapped:
            ip, port = self.mapped[host]
            return [ResolveResult(hostname=host, host=ip, port=port, family=socket.AF_INET, proto=0, flags=NUMERIC)]
        if host in self.unknown:
            raise Rejected("unknown_host", host)
        look_up = partial(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        try:
            found = await asyncio.get_running_loop().run_in_executor(self.threads, look_up)
        except socket.gaierror as error:
            if error.errno not in NO_SUCH_NAME:  # a name server that does not answer is an error that may pass
                raise
            self.unknown.add(host)
            raise Rejected("unknown_host", host) from error
        if not all(public(str(place[0])) for *_, place in found):
            raise Rejected("refused", f"{host} is not a public address")
        return [
            ResolveResult(hostname=host, host=str(place[0]), port=port, family=kind, proto=proto, flags=NUMERIC)
            for kind, _, proto, _, place in found
        ]

    async def close(self) -> None:
        self.threads.shutdown(wait=False, cancel_futures=True)


def check_url(url: str, mapped: Collection[str] = (), base: URL | None = None) -> URL:
    """The URL, seen from `base`, with its host as the connection will name it, and without dots for folders.

    Raises `Rejected` for anything but http and https to a mapped host, a named one, or a public address. yarl has
    mapped full-width digits and the like by then, and aiohttp asks no resolver where it takes a host for an address.
    """
    try:
        address = link(url, base)
        host = address.raw_host or ""
        private = host not in mapped and is_ip_address(host) and not public(host)
    except (ValueError, LookupError) as error:
        raise Rejected("refused", f"not a URL: {error}"[:80]) from error
    if address.scheme not in ("http", "https") or not host:
        raise Rejected("refused", f"scheme {address.scheme or 'none'!r}")
    if private:
        raise Rejected("refused", f"{host} is not a public address")
    return address.join(address.relative())


def host_of(url: str) -> str:
    """The host of a URL as the connection will name it; "" where there is none."""
    try:
        return link(url).raw_host or ""
    except (ValueError, LookupError):
        return ""


def retry_after(value: str) -> float:
    """Seconds that a Retry-After header asks to wait, a number or a date; 0 where it says neither."""
    try:
        seconds = float(value)
        return seconds if seconds > 0 else 0.0
    except ValueError:
        pass
    try:
        return max((parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds(), 0.0)
    except (ValueError, TypeError, OverflowError):
        return 0.0


class Client:
    """`await fetch(url)` gives a checked `Picture` or raises `Rejected` with the kind of failure."""

    def __init__(self, settings: Download, mapped: Mapping[str, tuple[str, int]] | None = None) -> None:
        self.settings, self.mapped = settings, dict(mapped or {})
        places = settings.per_host or max(settings.concurrency, 1)
        self.places: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(places))
        self.held_until: dict[str, float] = {}  # host → time.monotonic() before which it is not asked

    async def __aenter__(self) -> Client:
        heads.install()
        limits = aiohttp.ClientTimeout(sock_connect=self.settings.connect_timeout, sock_read=self.settings.read_timeout)
        self.resolver = Resolver(self.mapped, self.settings.concurrency)
        # No more than the cores: decoding is all work, and each thread may hold a picture of max_pixels.
        self.decoders = ThreadPoolExecutor(len(os.sched_getaffinity(0)), thread_name_prefix="decoder")
        # The connector has no limits of its own: a wait for a place in it would count against the row's time.
        # Of a hundred hosts a second each leaves an idle socket: few may stay open, or descriptors run out.
        connector = aiohttp.TCPConnector(resolver=self.resolver, limit=0, keepalive_timeout=1.0)
        self.session = aiohttp.ClientSession(
            connector=connector,
            timeout=limits,
            headers={"User-Agent": AGENT, "Accept-Encoding": "identity"},
            auto_decompress=False,  # `unpacked` does so, with a limit
            cookie_jar=aiohttp.DummyCookieJar(),
            max_line_size=heads.LINE,
            max_field_size=heads.LINE,
            max_headers=heads.LINES,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()
        await self.resolver.close()
        self.decoders.shutdown(wait=False, cancel_futures=True)

    async def fetch(self, url: str) -> Picture:
        """Try, and try again after an error that may pass, with a doubled wait each time, besides the host's own."""
        wait, tries = self.settings.backoff, 0
        while True:
            try:
                return await self._attempt(url)
            except Rejected as failure:
                tries += 1
                allowed = min(self.settings.retries, 1) if failure.kind == "truncated" else self.settings.retries
                if failure.kind not in PASSING or tries > allowed or failure.after > self.settings.patience:
                    raise
            await asyncio.sleep(wait)
            wait *= 2

    async def _attempt(self, url: str) -> Picture:
        try:
            body, encoding = await self._follow(url)
        except TimeoutError as error:
            raise Rejected("timeout", type(error).__name__) from error
        except aiohttp.ClientPayloadError as error:
            raise Rejected("truncated", str(error)[:80]) from error
        except aiohttp.InvalidURL as error:
            raise Rejected("refused", str(error)[:80]) from error
        except aiohttp.ClientConnectorCertificateError as error:  # expired, another host's, or of nobody known
            raise Rejected("certificate", str(error.certificate_error)[:80]) from error
        except aiohttp.ClientResponseError as error:  # an answer that the parser refuses
            raise Rejected("http_error", error.message[:80]) from error
        except (aiohttp.ClientError, OSError) as error:  # some of these are a ValueError as well
            raise Rejected("connection", f"{type(error).__name__}: {error}"[:80]) from error
        except ValueError as error:
            raise Rejected("refused", str(error)[:80]) from error
        return await asyncio.get_running_loop().run_in_executor(self.decoders, self._picture, body, encoding)

    def _picture(self, body: bytes, encoding: str) -> Picture:
        return check(unpacked(body, encoding, self.settings.max_bytes), self.settings)

    async def _follow(self, url: str) -> tuple[bytes, str]:
        """The body at the end of the redirects, and how it is packed; every hop is checked like the first address.

        All hops together have `total_timeout`; the waits for their hosts do not count.
        """
        address, left = check_url(url, self.mapped), self.settings.total_timeout
        for _ in range(REDIRECTS + 1):
            host = address.raw_host or ""
            async with self.places[host]:
                await self._held(host)
                began = time.monotonic()
                async with asyncio.timeout(left), self._get(address) as response:
                    moved = response.status in (301, 302, 303, 307, 308) and "Location" in response.headers
                    if not moved:
                        return await self._body(response, host)
                left -= time.monotonic() - began
            address = check_url(response.headers["Location"], self.mapped, address)
        raise Rejected("redirect_loop", f"more than {REDIRECTS} redirects")

    def _get(self, address: URL) -> Any:
        """The request. aiohttp asks no resolver about an IP address, so a mapped one is replaced here."""
        host = address.raw_host or ""
        headers: dict[str, str] = {}
        if host in self.mapped and is_ip_address(host):
            ip, port = self.mapped[host]
            headers = {"Host": address.host_port_subcomponent or host}
            address = address.with_host(ip).with_port(port)
        return self.session.get(address, headers=headers, allow_redirects=False)

    async def _held(self, host: str) -> None:
        """Wait until the host may be asked; an answer to another row may put that off meanwhile."""
        while (left := self.held_until.get(host, 0.0) - time.monotonic()) > 0:
            await asyncio.sleep(left)

    async def _body(self, response: Any, host: str) -> tuple[bytes, str]:
        status = response.status
        if status != 200:
            passing = status >= 500 or status == 429
            kind = "not_found" if status in (404, 410) else "server_error" if passing else "http_error"
            after = retry_after(response.headers.get("Retry-After", ""))
            if passing and after:  # what it asks of one row, it asks of all
                until = time.monotonic() + min(after, self.settings.patience)
                self.held_until[host] = max(until, self.held_until.get(host, 0.0))
            raise Rejected(kind, f"status {status}", after)
        limit = self.settings.max_bytes
        if (response.content_length or 0) > limit:
            raise Rejected("too_large", f"{response.content_length} bytes")
        body = bytearray()
        async for piece in response.content.iter_any():
            body += piece
            if len(body) > limit:
                raise Rejected("too_large", f"more than {limit} bytes")
        return bytes(body), ",".join(response.headers.getall("Content-Encoding", []))
