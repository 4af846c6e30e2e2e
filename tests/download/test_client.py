"""The client against a small hostile server, and against addresses that it must not ask."""

import asyncio
import dataclasses
import gzip
import io
import socket
import ssl
import struct
import threading
import time
import zlib
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import aiohttp
import pytest
from aiohttp import web
from aiohttp.client_reqrep import ConnectionKey
from PIL import Image, ImageFile

from gillnext.config.data import Download
from gillnext.download.client import Client, Resolver, check_url, public, retry_after
from gillnext.download.pictures import Rejected, check

SETTINGS = Download(read_timeout=0.4, total_timeout=1.0, connect_timeout=0.5, backoff=0.01, max_bytes=50_000)


def encoded(form="PNG", mode="RGB", side=20):
    buffer = io.BytesIO()
    Image.new(mode, (side, side), 90).save(buffer, form)
    return buffer.getvalue()


@asynccontextmanager
async def serving(handler):
    """A server with this handler on loopback, as (IP, port)."""
    runner = web.ServerRunner(web.Server(handler, access_log=None, handler_cancellation=True), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][:2]
    finally:
        await runner.cleanup()


def fetch(handler, path="/", settings=SETTINGS, hosts=("site.example",)):
    """What the client makes of a path, or a whole URL with {port}, on a server with this handler: a Picture or the
    kind of failure."""

    async def go():
        async with serving(handler) as (ip, port):
            try:
                async with Client(settings, {host: (ip, port) for host in hosts}) as client:
                    url = path.format(port=port)
                    return await client.fetch(url if url.startswith("http") else f"http://site.example{url}")
            except Rejected as failure:
                return failure.kind

    return asyncio.run(asyncio.wait_for(go(), 20))


def test_pictures_of_other_modes_become_rgb_png():
    for form, mode in (("PNG", "RGBA"), ("PNG", "L"), ("GIF", "P"), ("JPEG", "L"), ("WEBP", "RGB")):
        body = encoded(form, mode)

        async def answer(request, body=body):
            return web.Response(body=body, content_type="text/plain")

        picture = fetch(answer)
        assert (picture.suffix, picture.width, picture.height) == (".png", 20, 20)
        assert Image.open(io.BytesIO(picture.data)).mode == "RGB"


def test_an_rgb_jpeg_is_kept_byte_for_byte():
    body = encoded("JPEG")
    assert check(body, SETTINGS).data == body


def test_a_circle_of_redirects_ends():
    async def answer(request):
        raise web.HTTPFound("/again")

    assert fetch(answer) == "redirect_loop"


@pytest.mark.parametrize("target", ["http://127.0.0.1/x", "http://10.0.0.8/", "http://[::1]/", "file:///etc/passwd",
                                    "http://169.254.169.254/latest", "ftp://site.example/x"])  # fmt: skip
def test_a_redirect_to_a_private_or_foreign_place_is_refused(target):
    async def answer(request):
        return web.Response(status=302, headers={"Location": target})

    assert fetch(answer) == "refused"


# Ways to write 127.0.0.1 and a link-local address that IDNA maps to plain digits and dots (UTS 46).
DISGUISED = ("１２７.０.０.１", "127。0。0。1", "①②⑦.0.0.1", "169。254。169。254")


@pytest.mark.parametrize("host", [*DISGUISED, "2130706433", "127.1", "127.0.0.1."])
def test_no_spelling_of_a_private_address_reaches_it(host):
    asked = []

    async def answer(request):
        asked.append(request.path)
        if request.path == "/moved":
            port = request.transport.get_extra_info("sockname")[1]
            return web.Response(status=302, headers={"Location": f"http://{host}:{port}/secret"})
        return web.Response(body=encoded(), content_type="image/png")

    assert fetch(answer, f"http://{host}:{{port}}/secret") == "refused" and asked == []
    assert fetch(answer, "/moved") == "refused" and asked == ["/moved"]


@pytest.mark.parametrize("host", ["10.1.2.3", "127.0.0.1", "[fec0::1]"])
def test_a_mapped_address_leads_to_its_server(host):
    asked = []

    async def answer(request):
        asked.append(request.host)
        return web.Response(body=encoded(), content_type="image/png")

    assert fetch(answer, f"http://{host}/a.png", hosts=[host.strip("[]")]).width == 20
    assert asked == [host]


# Worked out by hand from RFC 3056 (6to4), 4291 (mapped, compatible, link- and site-local), 4380 (Teredo), 6052 (NAT64).
ADDRESSES = {
    "8.8.8.8": True, "2606:4700::1111": True, "::ffff:8.8.8.8": True, "64:ff9b::8.8.8.8": True,
    "2002:808:808::1": True,
    "127.0.0.1": False, "0.0.0.0": False, "100.100.100.200": False, "169.254.169.254": False, "192.0.0.192": False,
    "224.0.0.1": False, "240.0.0.1": False, "255.255.255.255": False,
    "::": False, "::1": False, "::127.0.0.1": False, "::ffff:10.0.0.1": False, "64:ff9b::7f00:1": False,
    "64:ff9b::169.254.169.254": False, "64:ff9b:1::a00:1": False, "2002:7f00:1::": False, "2002:a9fe:a9fe::1": False,
    "2001:0:4136:e378::1": False, "2001:db8::1": False, "fc00::1": False, "fe80::1%lo": False, "fec0::1": False,
    "ff02::1": False, "4000::1": False,
}  # fmt: skip


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_is_judged_by_where_its_packets_go(address):
    assert public(address) == ADDRESSES[address]
    if "%" not in address:
        try:
            check_url(f"http://[{address}]/" if ":" in address else f"http://{address}/")
        except Rejected as failure:
            assert failure.kind == "refused" and not ADDRESSES[address]
        else:
            assert ADDRESSES[address]


def test_large_bodies_are_cut_off_announced_or_not():
    async def announced(request):
        return web.Response(body=bytes(60_000))

    async def streamed(request):
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        for _ in range(1000):
            await response.write(bytes(1000))
        return response

    assert fetch(announced) == "too_large"
    assert fetch(streamed) == "too_large"


def test_a_body_that_drips_for_ever_ends_by_the_total_time_limit():
    async def drip(request):
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(200):
            await response.write(b"x")
            await asyncio.sleep(0.1)
        return response

    began = time.monotonic()
    assert fetch(drip) == "timeout"
    assert time.monotonic() - began < 5


def test_statuses_have_their_kinds_and_only_passing_errors_are_tried_again():
    for status, kind, tries in (
        (404, "not_found", 1),
        (403, "http_error", 1),
        (500, "server_error", 3),
        (429, "server_error", 3),
    ):
        calls = []

        async def answer(request, status=status, calls=calls):
            calls.append(1)
            return web.Response(status=status)

        assert (fetch(answer), len(calls)) == (kind, tries)


def test_a_server_that_hangs_up_is_a_connection_error():
    async def answer(request):
        request.transport.abort()
        return web.Response()

    assert fetch(answer) == "connection"


def abort(request):
    """Reset the connection, so that the kernel tells the client (RST), too."""
    linger = struct.pack("ii", 1, 0)
    request.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    request.transport.abort()


def test_a_body_that_is_not_what_was_announced_is_a_broken_picture():
    body = encoded("JPEG", side=40)
    half, whole, double = body[: len(body) // 2], len(body), 2 * len(body)
    sent = {"/reset": (half, whole), "/short": (half, len(half)), "/long": (body, double), "/whole": (body, whole)}

    async def answer(request):
        data, length = sent[request.path]
        head = f"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        request.transport.write(head.encode() + data)
        await asyncio.sleep(0.1)  # the client has read this by now
        abort(request) if request.path == "/reset" else request.transport.close()
        return web.Response()

    for path in ("/reset", "/short", "/long"):
        assert fetch(answer, path) == "truncated", path
    assert fetch(answer, "/whole").data == body


def test_addresses_that_are_no_web_addresses_are_refused():
    for url in ("", "ftp://a.example/x", "javascript:1", "http://", "http://[::1", "//a/b", "http://192.168.0.1/a.jpg",
                "http://0.0.0.0/", "http://[::ffff:127.0.0.1]/", "http://localhost:99999/", "http://[a]@/",
                "http://[fe80::1%]/", "http://[::ffff:127.0.0.1%25]/"):  # fmt: skip
        with pytest.raises(Rejected) as failure:
            check_url(url)
        assert failure.value.kind == "refused", url
    check_url("https://8.8.8.8/a.jpg")


def test_only_mapped_names_may_lead_to_this_machine():
    async def resolve(host):
        resolver = Resolver({"site.example": ("127.0.0.1", 7)})
        try:
            return await resolver.resolve(host, 80)
        finally:
            await resolver.close()

    assert asyncio.run(resolve("site.example"))[0]["port"] == 7
    with pytest.raises(Rejected, match="not a public address"):
        asyncio.run(resolve("localhost"))
    assert public("1.1.1.1") and not public("fe80::1%lo") and not public("100.64.0.1")


def test_a_connection_to_an_unmapped_local_name_is_refused():
    async def go():
        async with Client(SETTINGS) as client:
            await client.fetch("http://localhost/a.jpg")

    with pytest.raises(Rejected) as failure:
        asyncio.run(go())
    assert failure.value.kind == "refused"


def test_bodies_are_judged_by_their_bytes():
    jpeg = encoded("JPEG", side=40)
    for body, kind in ((b"<html>", "not_image"), (b"", "not_image"), (jpeg[: len(jpeg) // 2], "truncated"),
                       (jpeg[:5], "truncated"), (encoded(side=8), "too_small")):  # fmt: skip
        with pytest.raises(Rejected) as failure:
            check(body, SETTINGS)
        assert failure.value.kind == kind


def test_a_picture_of_endless_scans_is_refused_before_it_is_decoded(monkeypatch):
    monkeypatch.setattr("PIL.Image.open", None)
    with pytest.raises(Rejected) as refused:
        check(encoded("JPEG") + b"\xff\xda\x00\x08" * 501, SETTINGS)
    assert (refused.value.kind, refused.value.detail) == ("too_large", "502 scans")


def test_a_certificate_that_is_not_believed_is_no_fault_of_the_address(monkeypatch):
    """Such an error is a ValueError too."""
    key = ConnectionKey("site.example", 443, True, True, None, None, None)
    error = aiohttp.ClientConnectorCertificateError(key, ssl.SSLCertVerificationError("self-signed"))
    assert isinstance(error, ValueError)
    calls = []

    async def refuse(self, url):
        calls.append(url)
        raise error

    monkeypatch.setattr(Client, "_follow", refuse)
    assert fetch(lambda request: web.Response()) == "certificate" and len(calls) == 1


def test_a_camera_that_was_held_sideways_is_turned_upright():
    image = Image.new("RGB", (40, 20), "red")
    image.paste("blue", (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # the top of the scene is at the right of the file
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", exif=exif, quality=95)
    picture = check(buffer.getvalue(), SETTINGS)
    upright = Image.open(io.BytesIO(picture.data))
    assert (picture.width, picture.height) == upright.size == (20, 40)
    (_, _, top), (_, _, bottom) = upright.getpixel((10, 5)), upright.getpixel((10, 35))
    assert top > 200 and bottom < 60
    assert upright.getexif().get(0x0112, 1) == 1


def test_long_and_huge_pictures_are_refused_by_their_header(monkeypatch):
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
    for size, kind in (
        ((20, 90), "too_long"),
        ((90, 20), "too_long"),
        ((400, 400), "too_large"),
        ((15, 20), "too_small"),
    ):
        with pytest.raises(Rejected) as failure:
            check(blank(size), dataclasses.replace(SETTINGS, max_pixels=100_000))
        assert failure.value.kind == kind


def blank(size):
    """A PNG of that size, written without Pillow."""
    width, height = size
    raw = b"".join(b"\0" + bytes(3 * width) for _ in range(height))

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def test_a_picture_that_pillow_itself_refuses_as_a_bomb_is_too_large():
    body = blank((20, 20)).replace(struct.pack(">II", 20, 20), struct.pack(">II", 20_000, 20_000))
    head = body[12:29]  # name and data of IHDR, whose checksum follows
    body = body[:29] + struct.pack(">I", zlib.crc32(head)) + body[33:]
    with pytest.raises(Rejected) as failure:
        check(body, dataclasses.replace(SETTINGS, min_side=1))
    assert failure.value.kind == "too_large"


def test_a_name_that_does_not_exist_is_looked_up_once_a_pass(monkeypatch):
    """And one whose server does not answer as often as any other error that may pass."""
    asked, codes = [], {"gone.example": socket.EAI_NONAME, "later.example": socket.EAI_AGAIN}

    def look_up(host, *rest, **settings):
        asked.append(host)
        raise socket.gaierror(codes[host], "no")

    async def go():
        async with Client(dataclasses.replace(SETTINGS, retries=2)) as client:
            urls = ["http://gone.example/1", "http://gone.example/2", "http://later.example/1"]
            found = [await asyncio.gather(client.fetch(url), return_exceptions=True) for url in urls]
            return [failure.kind for (failure,) in found]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert asyncio.run(asyncio.wait_for(go(), 20)) == ["unknown_host", "unknown_host", "connection"]
    assert asked == ["gone.example"] + ["later.example"] * 3


@pytest.mark.parametrize("error", [IndexError, KeyError, MemoryError, TypeError, ZeroDivisionError, struct.error])
def test_whatever_a_decoder_raises_is_a_broken_picture(monkeypatch, error):
    def load(self):
        raise error("odd")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    with pytest.raises(Rejected) as failure:
        check(blank((20, 20)), SETTINGS)
    assert failure.value.kind == "truncated" and error.__name__ in failure.value.detail


def test_the_server_says_how_long_to_wait_and_is_heard_within_reason():
    asked = []

    async def answer(request):
        asked.append(time.monotonic())
        if len(asked) % 2:
            return web.Response(status=429, headers={"Retry-After": "0.5" if request.path == "/soon" else "3600"})
        return web.Response(body=encoded(), content_type="image/png")

    assert fetch(answer, "/soon").width == 20
    assert asked[1] - asked[0] >= 0.5
    asked.clear()
    assert fetch(answer, "/late") == "server_error" and len(asked) == 1


def test_a_host_that_asks_to_wait_is_left_alone_by_every_row():
    asked = {}

    async def answer(request):
        asked[request.host, request.path] = time.monotonic()
        if len(asked) == 1:
            return web.Response(status=503, headers={"Retry-After": "0.6"})
        return web.Response(body=encoded(), content_type="image/png")

    async def go():
        hosts = ["site.example", "other.example"]
        async with serving(answer) as place, Client(SETTINGS, dict.fromkeys(hosts, place)) as client:
            first = asyncio.create_task(client.fetch("http://site.example/0"))
            while not asked:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.2)  # the client has read the answer by now
            await asyncio.gather(first, *(client.fetch(f"http://{host}/1") for host in hosts))

    began = time.monotonic()
    asyncio.run(asyncio.wait_for(go(), 20))
    assert asked["site.example", "/1"] - began >= 0.6
    assert asked["other.example", "/1"] < asked["site.example", "/1"]


def test_an_overlong_wait_of_one_row_holds_its_host_off_for_the_patience_alone():
    times = []

    async def answer(request):
        times.append(time.monotonic())
        if len(times) == 1:
            return web.Response(status=429, headers={"Retry-After": "3600"})
        return web.Response(body=encoded(), content_type="image/png")

    async def go():
        settings = dataclasses.replace(SETTINGS, patience=0.5)
        async with serving(answer) as place, Client(settings, {"site.example": place}) as client:
            with pytest.raises(Rejected):
                await client.fetch("http://site.example/0")
            await client.fetch("http://site.example/1")

    asyncio.run(asyncio.wait_for(go(), 20))
    assert 0.5 <= times[1] - times[0] < 5


def test_dates_and_nonsense_in_retry_after():
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert 80 < retry_after(soon) <= 90
    assert [retry_after(v) for v in ("7", "-7", "", "soon", "Thu, 01 Jan 1970 00:00:00 GMT")] == [7, 0, 0, 0, 0]
    assert retry_after("9" * 400) == float("inf")  # longer than any patience


def test_a_date_that_no_calendar_has_is_no_wait():
    odd = "Thu, 01 Jan 99999999999999999999 00:00:00 GMT"
    assert retry_after(odd) == 0
    asked = []

    async def answer(request):
        asked.append(1)
        if len(asked) == 1:
            return web.Response(status=503, headers={"Retry-After": odd})
        return web.Response(body=encoded(), content_type="image/png")

    assert fetch(answer).width == 20


def test_a_packed_body_is_unpacked_and_a_bomb_is_not():
    bodies = {"/picture": gzip.compress(encoded()), "/bomb": gzip.compress(bytes(20_000_000))}
    assert len(bodies["/bomb"]) < 50_000

    async def answer(request):
        headers = {"Content-Encoding": "gzip"}
        return web.Response(body=bodies[request.path], headers=headers, content_type="image/png")

    assert fetch(answer, "/picture").width == 20
    assert fetch(answer, "/bomb") == "too_large"


def test_no_more_than_the_cap_are_asked_of_one_host():
    """All wait until as many as may are there, and then a while for one too many."""
    now, most, cap, full = [0], [0], [0], []

    async def answer(request):
        now[0] += 1
        most[0] = max(most[0], now[0])
        if now[0] == cap[0]:
            full[0].set()
        await asyncio.wait_for(full[0].wait(), 10)
        await asyncio.sleep(0.02)
        now[0] -= 1
        return web.Response(body=encoded(), content_type="image/png")

    async def go(settings):
        full[:] = [asyncio.Event()]
        runner = web.ServerRunner(web.Server(answer, access_log=None), shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with Client(settings, {"site.example": runner.addresses[0][:2]}) as client:
            await asyncio.gather(*(client.fetch(f"http://site.example/{i}") for i in range(30)))
        await runner.cleanup()

    patient = dataclasses.replace(SETTINGS, read_timeout=10.0, total_timeout=20.0, connect_timeout=10.0)
    for cap[0] in (3, 12):
        most[0] = 0
        asyncio.run(asyncio.wait_for(go(dataclasses.replace(patient, per_host=cap[0])), 20))
        assert most[0] == cap[0]


def test_the_wait_for_a_place_at_a_host_is_not_the_rows_time():
    async def answer(request):
        await asyncio.sleep(0.3)
        return web.Response(body=encoded(), content_type="image/png")

    async def go():
        settings = dataclasses.replace(SETTINGS, per_host=1, total_timeout=1.0, read_timeout=1.0, retries=0)
        async with serving(answer) as place, Client(settings, {"site.example": place}) as client:
            return await asyncio.gather(*(client.fetch(f"http://site.example/{i}") for i in range(6)))

    assert len(asyncio.run(asyncio.wait_for(go(), 20))) == 6  # the last one waits for 1.5 s before it is asked


def test_dead_names_hold_up_no_other_row(monkeypatch):
    """More names that nobody answers than asyncio has threads for its own look-ups (32 at most)."""
    answered, look_up = threading.Event(), socket.getaddrinfo

    def slow(host, *args, **options):
        if str(host).startswith("dead"):
            answered.wait(15)
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return look_up(host, *args, **options)

    async def answer(request):
        return web.Response(body=encoded(), content_type="image/png")

    async def go():
        async with serving(answer) as place, Client(SETTINGS, {"site.example": place}) as client:
            dead = [asyncio.create_task(client.fetch(f"http://dead{i}.example/")) for i in range(40)]
            try:
                await asyncio.sleep(0.1)
                picture = await asyncio.wait_for(client.fetch("http://site.example/"), 5)
                await asyncio.wait_for(asyncio.to_thread(int), 5)  # as the journal writes its images
            finally:
                answered.set()
            return picture, await asyncio.gather(*dead, return_exceptions=True)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    picture, dead = asyncio.run(asyncio.wait_for(go(), 20))
    assert picture.width == 20 and {failure.kind for failure in dead} <= {"timeout", "connection"}
