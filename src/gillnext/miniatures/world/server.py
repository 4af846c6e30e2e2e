"""The world's web server: pictures drawn when they are asked for, and links that rot as the truth says.

    with running("results/demo/world") as address:      # "127.0.0.1:40123", in a process of its own
        ...

The fault of an address is the one in the truth table: not_found, server_error (503 once, then the picture),
stall, slow, truncated (a body cut short, or a connection that breaks), html, tiny, redirect.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
from aiohttp import web
from PIL import Image

from gillnext.config.data import World
from gillnext.config.model import Config
from gillnext.miniatures.world import objects, scenes
from gillnext.miniatures.world.stage import OBJECTS, STREAM
from gillnext.runtime import files, seeds
from gillnext.runtime.errors import UserError

ALONE = "gillnext.miniatures.world.serve"  # what python runs to serve in a process of its own
STALL = 120.0  # seconds that a stalled body is kept open, unless the client leaves
SLOW = (4, 0.2)  # pieces of a slow body, seconds before each
MOVED = "/moved"  # what a redirect puts before the path
PAGE = b"<!DOCTYPE html><html><head><title>404</title></head><body><p>Sorry.</p></body></html>"


def manifest(world: Path) -> dict:
    """world.json; a `UserError` where there is none."""
    if not (world / "world.json").exists():
        raise UserError("no world here", where=str(world), remedy="make one with `gillnext world`")
    return files.read_json(world / "world.json")


def addresses(world: Path) -> dict[str, tuple[int, str]]:
    """Path with query -> (scene, fault) of every row, from the truth tables."""
    tables = [pl.read_parquet(p, columns=["url", "scene", "fault"]) for p in sorted(world.glob("truth/*.parquet"))]
    table = pl.concat(tables)
    paths = table["url"].str.replace("^https?://[^/]+", "")
    return dict(zip(paths, zip(table["scene"], table["fault"], strict=True), strict=True))


def pixel() -> bytes:
    """A 1×1 GIF, as trackers and dead hosters send it."""
    buffer = io.BytesIO()
    Image.new("RGB", (1, 1), "white").save(buffer, "GIF")
    return buffer.getvalue()


class Site:
    """Answers GET requests; the only state is which addresses have already failed once."""

    def __init__(self, world: Path) -> None:
        facts = manifest(world)
        self.seed, self.host = int(facts["seed"]), str(facts["world"]["host"])
        self.rows, self.failed = addresses(world), set[str]()
        named = {key: value for key, value in facts["world"].items() if key in OBJECTS}
        self.objects = objects.of(Config(world=World(**named)))

    def picture(self, scene: int) -> bytes:
        return scenes.jpeg(self.objects.render(self.objects.sample(self.seed, STREAM, scene)))

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path_qs
        moved = path.startswith(MOVED)
        found = self.rows.get(path.removeprefix(MOVED))
        if found is None:
            return web.Response(status=404, text="no such picture")
        scene, fault = found
        odd = bool(seeds.key("world-server", path) % 2)  # two ways to fail, by address
        if moved or fault in ("", "duplicate"):
            return _picture(self.picture(scene))
        if fault == "not_found":
            return web.Response(status=410 if odd else 404, body=PAGE, content_type="text/html")
        if fault == "html":
            return web.Response(body=PAGE, content_type="image/jpeg" if odd else "text/html")
        if fault == "tiny":
            return web.Response(body=pixel(), content_type="image/gif")
        if fault == "redirect":
            target = MOVED + path if odd else f"http://{self.host}{MOVED}{path}"
            return web.Response(status=301 if odd else 302, headers={"Location": target})
        if fault == "server_error":
            if path in self.failed:
                return _picture(self.picture(scene))
            self.failed.add(path)
            return web.Response(status=503, text="try later")
        return await self._body(request, fault, self.picture(scene), odd)

    async def _body(self, request: web.BaseRequest, fault: str, data: bytes, odd: bool) -> web.StreamResponse:
        """A body that is cut, late or endless."""
        if fault == "truncated" and not odd:
            return _picture(data[: len(data) // 2])
        response = web.StreamResponse(headers={"Content-Type": "image/jpeg", "Content-Length": str(len(data))})
        with contextlib.suppress(ConnectionResetError):  # the client has left: no fault, and nobody to tell
            await self._write(request, response, fault, data)
        return response

    async def _write(self, request: web.BaseRequest, response: web.StreamResponse, fault: str, data: bytes) -> None:
        half = len(data) // 2
        await response.prepare(request)
        if fault == "slow":
            pieces, pause = SLOW
            step = -(-len(data) // pieces)
            for start in range(0, len(data), step):
                await asyncio.sleep(pause)
                await response.write(data[start : start + step])
            await response.write_eof()
            return
        await response.write(data[:half])
        if fault == "stall":
            await asyncio.sleep(STALL)
        if request.transport:
            request.transport.close()


def _picture(data: bytes) -> web.Response:
    return web.Response(body=data, content_type="image/jpeg", headers={"Cache-Control": "no-store"})


async def serve(site: Site, port: int, announce: Callable[[str], None], until: asyncio.Event) -> None:
    """Serve on loopback until the event is set; `announce` gets "127.0.0.1:port" once the server listens."""
    server = web.Server(site.answer, access_log=None, handler_cancellation=True)
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    try:
        listener = web.TCPSite(runner, "127.0.0.1", port, backlog=1024)
        await listener.start()
        announce("{}:{}".format(*runner.addresses[0][:2]))
        await until.wait()
    finally:
        await runner.cleanup()


@contextlib.contextmanager
def running(world: Path | str, start: float = 60.0, module: str = ALONE, port: int = 0) -> Iterator[str]:
    """The world's server in a process of its own: yields its address, "127.0.0.1:port", and always stops it.
    `module` is what python runs; `port` 0 is a free one.

    The server also stops by itself when this process ends, even if it is killed. Raises `RuntimeError` where
    the server does not start within `start` seconds, or has ended before its time.
    """
    command = [sys.executable, "-m", module, "--world", str(world), "--port", str(port), "--until-stdin-closes"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        line = _first_line(process, start)
        if not line.startswith("http://"):
            raise RuntimeError(f"the world's server did not start ({world})")
        yield line.strip().removeprefix("http://")
        if process.poll() is not None:
            raise RuntimeError(f"the world's server ended early, with status {process.returncode}")
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)
        for pipe in (process.stdin, process.stdout):
            if pipe:
                pipe.close()


def _first_line(process: subprocess.Popen[str], seconds: float) -> str:
    """The first line that the process prints, or "" where it ends or takes longer."""
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], seconds)
    return process.stdout.readline() if ready else ""
