"""Headless Chromium by its DevTools protocol: a page of this machine, a real mouse and keyboard, no network."""

import asyncio
import json
import os
import shutil
import subprocess
import time
from contextlib import asynccontextmanager

import aiohttp

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome-headless-shell")


def find():
    """The browser's command: the variable CHROMIUM, or the first on PATH; None where there is none."""
    return os.environ.get("CHROMIUM") or next((path for name in NAMES if (path := shutil.which(name))), None)


class Page:
    """One tab. Places are CSS selectors with a point in fractions of the element."""

    def __init__(self, socket):
        self.socket, self.number = socket, 0

    async def call(self, method, **params):
        self.number += 1
        await self.socket.send_json({"id": self.number, "method": method, "params": params})
        while True:
            answer = json.loads((await self.socket.receive(timeout=30)).data)
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]

    async def js(self, expression):
        answer = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def until(self, expression):
        end = time.monotonic() + 30
        while time.monotonic() < end:
            if value := await self.js(expression):
                return value
            await asyncio.sleep(0.05)
        raise AssertionError(f"never true: {expression}")

    async def open(self, url):
        await self.call("Page.enable")
        await self.call("Page.navigate", url=url)
        await self.until(f"document.readyState === 'complete' && location.href === {json.dumps(url)}")

    async def place(self, selector, x=0.5, y=0.5):
        box = f"document.querySelector({json.dumps(selector)}).getBoundingClientRect()"
        left, top, width, height = await self.js(f"(b => [b.left, b.top, b.width, b.height])({box})")
        return left + x * width, top + y * height

    async def mouse(self, kind, at, buttons=0):
        await self.call(
            "Input.dispatchMouseEvent", type=kind, x=at[0], y=at[1], button="left", buttons=buttons, clickCount=1
        )

    async def drag(self, start, *further):
        await self.mouse("mouseMoved", start)
        await self.mouse("mousePressed", start, 1)
        for at in further:
            await self.mouse("mouseMoved", at, 1)
        await self.mouse("mouseReleased", further[-1] if further else start)

    async def click(self, selector):
        await self.drag(await self.place(selector))

    async def key(self, key, modifiers=0):
        code = {"Delete": 46, "Enter": 13, "ArrowRight": 39, "ArrowDown": 40, "PageUp": 33, "PageDown": 34}[key]
        for kind in ("keyDown", "keyUp"):
            await self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, modifiers=modifiers
            )

    async def write(self, text):
        await self.call("Input.insertText", text=text)

    async def choose(self, selector, path):
        document = await self.call("DOM.getDocument")
        node = await self.call("DOM.querySelector", nodeId=document["root"]["nodeId"], selector=selector)
        await self.call("DOM.setFileInputFiles", files=[str(path)], nodeId=node["nodeId"])


@asynccontextmanager
async def browser(profile):
    """A page of a browser whose data is kept in the folder `profile`, and which resolves no name."""
    command = [find(), "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", "--no-first-run"]
    command += [
        f"--user-data-dir={profile}",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        "--window-size=1200,900",
    ]
    told = profile / "DevToolsActivePort"
    told.unlink(missing_ok=True)
    process = subprocess.Popen([*command, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 60
        while not (told.exists() and told.read_text().count("\n")):
            assert time.monotonic() < end and process.poll() is None, "the browser did not start"
            await asyncio.sleep(0.1)
        port = told.read_text().split("\n")[0]
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                (address,) = [tab["webSocketDebuggerUrl"] for tab in await answer.json() if tab["type"] == "page"]
            async with session.ws_connect(address, max_msg_size=0) as socket:
                yield Page(socket)
                await socket.send_json({"id": 10**6, "method": "Browser.close"})
        process.wait(30)
    finally:
        process.kill()
        process.wait()
