"""The client against a small hostile server, and against addresses that it must not ask."""

import asyncio
import dataclasses
import gzip
import io
import struct
import time
import zlib
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from aiohttp import web
from PIL import Image

from gillnext.config.model import Download
from gillnext.download.client import Client, Resolver, check_url, public, retry_after
from gillnext.download.pictures import Rejected, check

SETTINGS = Download(read_timeout=0.4, total_timeout=1.0, connect_timeout=0.5, backoff=0.01, max_bytes=50_000)


def encoded(form="PNG", mode="RGB", side=20):
    buffer = io.BytesIO()
    Image.new(mode, (side, side), 90).save(buffer, form)
    return buffer.getvalue()


def fetch(handler, path="/", settings=SETTINGS, hosts=("site.example",)):
    """What the client makes of a path on a server with this handler: a Picture or the kind of failure."""

    async def go():
        runner = web.ServerRunner(web.Server(handler, access_log=None, handler_cancellation=True), shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        ip, port = runner.addresses[0][:2]
        try:
            async with Client(settings, {host: (ip, port) for host in hosts}) as client:
                return await client.fetch(f"http://site.example{path}")
        except Rejected as failure:
            return failure.kind
        finally:
            await runner.cleanup()

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


def test_addresses_that_are_no_web_addresses_are_refused():
    for url in ("", "ftp://a.example/x", "javascript:1", "http://", "http://[::1", "//a/b", "http://192.168.0.1/a.jpg",
                "http://0.0.0.0/", "http://[::ffff:127.0.0.1]/", "http://localhost:99999/"):  # fmt: skip
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
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
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
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


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


def test_dates_and_nonsense_in_retry_after():
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert 80 < retry_after(soon) <= 90
    assert [retry_after(v) for v in ("7", "-7", "", "soon", "Thu, 01 Jan 1970 00:00:00 GMT", "9" * 400)][:5] == [
        7,
        0,
        0,
        0,
        0,
    ]


def test_a_packed_body_is_unpacked_and_a_bomb_is_not():
    bodies = {"/picture": gzip.compress(encoded()), "/bomb": gzip.compress(bytes(20_000_000))}
    assert len(bodies["/bomb"]) < 50_000

    async def answer(request):
        headers = {"Content-Encoding": "gzip"}
        return web.Response(body=bodies[request.path], headers=headers, content_type="image/png")

    assert fetch(answer, "/picture").width == 20
    assert fetch(answer, "/bomb") == "too_large"


def test_no_more_than_the_cap_are_asked_of_one_host():
    now, most = [0], [0]

    async def answer(request):
        now[0] += 1
        most[0] = max(most[0], now[0])
        await asyncio.sleep(0.02)
        now[0] -= 1
        return web.Response(body=encoded(), content_type="image/png")

    async def go(settings):
        runner = web.ServerRunner(web.Server(answer, access_log=None), shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with Client(settings, {"site.example": runner.addresses[0][:2]}) as client:
            await asyncio.gather(*(client.fetch(f"http://site.example/{i}") for i in range(30)))
        await runner.cleanup()

    for cap in (3, 12):
        most[0] = 0
        asyncio.run(asyncio.wait_for(go(dataclasses.replace(SETTINGS, per_host=cap)), 20))
        assert most[0] == cap
