"""The studio's server: the page and what it asks for, on loopback, for those who have the token.

    GET  /TOKEN/             the page; beside it its scripts and styles
    GET  /TOKEN/facts        arms, names, limits and what is drawn unless told otherwise
    POST /TOKEN/plan         {page, caption} -> {objects, warnings}
    POST /TOKEN/draw         {page, caption, objects, arm, seed, steps, guidance} -> {with, without, warnings, seconds}
    POST /TOKEN/boxes        {text} -> {caption, objects}: pasted JSON, checked

An error is {what, where, remedy}. Pictures are PNGs as data URIs, at their own size.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import hmac
import io
import json
import secrets
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from aiohttp import web
from PIL import Image

from gillnext import editor
from gillnext.layouts import MAX_BOXES, Layout
from gillnext.overlay import COLOURS
from gillnext.runtime import files
from gillnext.runtime.errors import UserError
from gillnext.sample.painter import Painter
from gillnext.studio import asks
from gillnext.studio.one_at_a_time import Superseded, Turns

HOST = "127.0.0.1"
KEPT = 64  # pictures that are not drawn again
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",  # the address holds the token
    "X-Content-Type-Options": "nosniff",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def page_files() -> dict[str, tuple[str, str]]:
    """Name -> (text, content type) of what the page is made of; "" is the page itself."""
    texts = {path.name: path.read_text(encoding="utf-8") for path in Path(__file__).with_name("page").iterdir()}
    texts |= {name: editor.text(name) for name in editor.FILES}
    found = {name: (text, TYPES[Path(name).suffix]) for name, text in texts.items()}
    return {"": found.pop("index.html"), **found}


def refusal(what: str, where: str = "", remedy: str = "", status: int = 400) -> web.Response:
    """An error as the page reads it."""
    return web.json_response({"what": what, "where": where, "remedy": remedy}, status=status)


class Studio:
    """What one page after the other asks of a painter; `arms` are adapters by the name that the page shows."""

    def __init__(self, painter: Painter, arms: Mapping[str, Path], steps: int, guidance: float) -> None:
        self.painter, self.arms, self.steps, self.guidance = painter, dict(arms), steps, guidance
        self.turns = Turns(painter.begin)
        self.picture = functools.lru_cache(KEPT)(self._picture)
        self.files = page_files()

    def _picture(self, asked: asks.Drawing) -> str:
        """A picture as a data URI."""
        adapter = self.arms[asked.arm] if asked.arm else None
        pixels = self.painter.paint(asked.layout, adapter, asked.seed, asked.steps, asked.guidance)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()

    def draw(self, asked: asks.Drawing) -> dict[str, Any]:
        """The picture with the arm's adapter and boxes, and the one without."""
        began = time.monotonic()
        pictures = {"with": self.picture(asked), "without": self.picture(asked.bare())}
        seconds = round(time.monotonic() - began, 2)
        return {**pictures, "warnings": self.painter.remarks(asked.layout), "seconds": seconds}

    def facts(self) -> dict[str, Any]:
        planner = self.painter.planner
        return {
            "arms": list(self.arms), "planner": planner is not None, "names": list(planner.nouns) if planner else [],
            "base": str(self.painter.base), "colours": COLOURS, "most": MAX_BOXES, "caption": asks.CAPTION,
            "seeds": asks.SEEDS, "steps": [*asks.STEPS, self.steps], "guidance": [*asks.GUIDANCE, self.guidance],
        }  # fmt: skip

    def plan(self, caption: str) -> dict[str, Any]:
        if self.painter.planner is None:
            raise UserError("no planner is there", where="planner", remedy="draw boxes, or name one with --planner")
        layout, warnings = self.painter.plan(caption)
        return {"objects": objects(layout), "warnings": warnings}

    async def answer(self, what: str, data: Any) -> dict[str, Any]:
        """What a POST request gets."""
        if what == "boxes":
            caption, layout = asks.pasted(asks.fields(data, ("text",))["text"])
            return {"caption": caption, "objects": objects(layout)}
        if what == "plan":
            asked = asks.fields(data, ("page", "caption"))
            work = functools.partial(self.plan, asks.caption(asked["caption"]))
        else:
            work = functools.partial(self.draw, asks.drawing(data, self.arms))
        return await self.turns.take(asks.page(data["page"]), work)

    async def get(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name == "facts":
            return web.json_response(self.facts())
        if name not in self.files:
            raise web.HTTPNotFound
        text, kind = self.files[name]
        return web.Response(text=text, content_type=kind, charset="utf-8")

    async def post(self, request: web.Request) -> web.Response:
        what = request.match_info["name"]
        if what not in ("plan", "draw", "boxes"):
            raise web.HTTPNotFound
        if request.content_type != "application/json":
            return refusal("not JSON", request.content_type, "send application/json", 415)
        try:
            data = json.loads(await request.read(), object_pairs_hook=files.unique)
        except (ValueError, RecursionError) as error:
            return refusal(f"not JSON: {error}", "the request")
        return web.json_response(await self.answer(what, data))


def objects(layout: Layout) -> list[dict[str, Any]]:
    """Names and boxes, as `gillnext draw --boxes` reads them."""
    return layout.to_row()["objects"]


def application(studio: Studio, token: str, hosts: Collection[str]) -> web.Application:
    """The server's routes behind its guards: the `hosts` that requests may name, the token, the size of a body."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.host not in hosts:  # a name that another's page resolves to this machine
            return refusal("not this server", request.host[:80], f"open the address that was printed ({HOST})", 421)
        if not hmac.compare_digest(request.match_info.get("token", "").encode(), token.encode()):
            return refusal("no such page", remedy="open the whole address that was printed", status=404)
        return await handler(request)

    @web.middleware
    async def tell(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            response = await handler(request)
        except Superseded:
            response = refusal("a newer request took its place", status=409)
        except UserError as error:
            response = refusal(error.what, error.where, error.remedy)
        except web.HTTPRequestEntityTooLarge:
            response = refusal("too much", "the request", f"{asks.BODY} bytes at most", 413)
        except web.HTTPException as error:
            response = refusal(error.reason, status=error.status)
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            response = refusal(f"{type(error).__name__}: {error}", remedy="the studio's terminal says more", status=500)
        response.headers.update(HEADERS)
        return response

    app = web.Application(middlewares=[tell, guard], client_max_size=asks.BODY)
    app.router.add_get("/{token}/{name:[^/]*}", studio.get, allow_head=False)
    app.router.add_post("/{token}/{name:[^/]+}", studio.post)
    return app


async def serve(studio: Studio, port: int, announce: Callable[[str], None], until: asyncio.Event) -> None:
    """Serve on loopback until the event is set; `announce` gets the page's address once the server listens.

    `port` 0 is a free one. Raises `OSError` where it cannot listen.
    """
    token, hosts = secrets.token_urlsafe(24), list[str]()
    runner = web.AppRunner(application(studio, token, hosts), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, port).start()
        hosts += [f"{name}:{runner.addresses[0][1]}" for name in (HOST, "localhost")]
        announce(f"http://{hosts[0]}/{token}/")
        await until.wait()
    finally:
        studio.turns.close()
        studio.painter.stop()
        await runner.cleanup()
