"""A picture server for the download benchmarks: fast where links work, hostile where they do not.

    python benchmarks/data/server.py --port 0          # prints http://127.0.0.1:PORT and serves until its stdin closes

`/pic/N.jpg` is one of 64 JPEGs drawn beforehand; `/FAULT/N.jpg` fails in that way (FAULTS). Loopback only.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import sys

import numpy as np
from aiohttp import web
from PIL import Image

VARIANTS, SIDE = 64, 256
FAULTS = (
    "not_found", "error_once", "html", "tiny", "truncated", "long_length", "short_length", "reset", "stall", "drip",
    "endless", "loop", "private",
)  # fmt: skip
STALL = 300.0  # seconds


def jpegs() -> list[bytes]:
    """Smooth coloured noise: about the size of a web thumbnail, and not all alike."""
    bodies = []
    for n in range(VARIANTS):
        small = np.random.default_rng(n).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(small).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=88)
        bodies.append(buffer.getvalue())
    return bodies


class Site:
    def __init__(self) -> None:
        self.bodies, self.failed = jpegs(), set[str]()

    def body(self, n: int) -> bytes:
        """Every address has a picture of its own: the number stands behind the JPEG's end, where readers ignore it."""
        return self.bodies[n % VARIANTS] + str(n).encode()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            _, kind, name = request.path.split("/")
            n = int(name.removesuffix(".jpg"))
        except ValueError:
            return web.Response(status=404)
        body = self.body(n)
        if kind == "pic" or (kind == "error_once" and request.path in self.failed):
            return web.Response(body=body, content_type="image/jpeg")
        if kind == "not_found":
            return web.Response(status=404)
        if kind == "error_once":
            self.failed.add(request.path)
            return web.Response(status=503)
        if kind == "html":
            return web.Response(text="<html><body>gone</body></html>", content_type="text/html")
        if kind == "tiny":
            return web.Response(body=_pixel(), content_type="image/gif")
        if kind == "truncated":
            return web.Response(body=body[: len(body) // 2], content_type="image/jpeg")
        if kind == "loop":
            return web.Response(status=302, headers={"Location": request.path})
        if kind == "private":
            return web.Response(status=302, headers={"Location": "http://10.0.0.1/secret.jpg"})
        return await self.stream(request, kind, body)

    async def stream(self, request: web.BaseRequest, kind: str, body: bytes) -> web.StreamResponse:
        """Bodies that lie about their length, stop, drip, or never end."""
        lengths = {"long_length": 2 * len(body), "short_length": len(body) // 2, "endless": None}
        length = lengths.get(kind, len(body))
        response = web.StreamResponse(headers={"Content-Type": "image/jpeg"})
        if length is not None:
            response.content_length = length
        await response.prepare(request)
        transport = request.transport
        if kind == "endless":
            while True:
                await response.write(body)
        if kind == "drip":
            for byte in body:
                await response.write(bytes([byte]))
                await asyncio.sleep(0.1)
        await response.write(body[: length // 2 if kind in ("reset", "stall") else length])
        if kind == "stall":
            await asyncio.sleep(STALL)
        if transport:
            transport.abort() if kind == "reset" else transport.close()
        return response


def _pixel() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (1, 1)).save(buffer, "GIF")
    return buffer.getvalue()


async def serve(port: int) -> None:
    runner = web.ServerRunner(
        web.Server(Site().answer, access_log=None, handler_cancellation=True), shutdown_timeout=0.1
    )
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    print("http://{}:{}".format(*runner.addresses[0][:2]), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    asyncio.run(serve(parser.parse_args().port))
