"""The studio in headless Chromium with the kept models: a box is drawn with the mouse, the picture follows it."""

import asyncio
import base64
import io
import json
import os
import select
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import chromium
import numpy as np
import pytest
from PIL import Image

from gillnext.sample import draw

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "reference/models"
STEPS = 2
FAULTS = """window.faults = [];
for (const kind of ["error", "unhandledrejection", "securitypolicyviolation"])
  addEventListener(kind, (one) => faults.push(`${kind} ${one.message || one.reason || one.violatedDirective}`));"""
FIRST, SECOND = (0.1, 0.1, 0.5, 0.5), (0.5, 0.45, 0.9, 0.85)  # where the box is drawn, and where it is moved to
in_browser = pytest.mark.skipif(
    not chromium.find(),
    reason="no Chromium on PATH, and the variable CHROMIUM names none: test_studio_server.py covers the rest",
)


@contextmanager
def served():
    """The page's address, of the command in a process of its own, which must end quietly."""
    command = [sys.executable, "-m", "gillnext.cli", "studio", "--config", "config.yaml", "--base", KEPT / "base"]
    command += ["--planner", KEPT / "draw/planner", "--adapter", KEPT / "draw/adapter"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    process = subprocess.Popen(
        list(map(str, command)), cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        ready, _, _ = select.select([process.stdout], [], [], 240)
        address = process.stdout.readline().strip() if ready else ""
        assert address.startswith("http://127.0.0.1:"), process.poll()
        yield address
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0 and "Traceback" not in errors
    finally:
        process.kill()
        process.wait()


def pixels(uri):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))), float)


def inside(boxes, size):
    """Which pixels (H, W) of a picture lie in one of the boxes."""
    y, x = (np.arange(size)[:, None] + 0.5) / size, (np.arange(size)[None] + 0.5) / size
    return np.any([(x1 <= x) & (x < x2) & (y1 <= y) & (y < y2) for x1, y1, x2, y2 in boxes], axis=0)


@in_browser
def test_a_box_is_drawn_and_moved_and_the_picture_changes_where_it_was_and_is(tmp_path):
    with served() as address:
        before, now, bare, told, boxes = asyncio.run(session(address, tmp_path))
    assert [row["name"] for row in boxes] == ["树"]
    assert boxes[0]["bbox"] == pytest.approx(SECOND, abs=0.02)
    changed = np.abs(pixels(now) - pixels(before)).max(-1)
    here = inside((FIRST, SECOND), len(changed))
    assert changed[here].mean() > 3 * changed[~here].mean()  # measured: 9 times
    assert f"in the changed boxes {changed[here].mean():.0f}，其余 elsewhere {changed[~here].mean():.0f}" in told
    moved = np.abs(pixels(now) - pixels(bare)).max(-1)
    assert moved.max() > 30  # the adapter is felt


async def session(address, tmp_path):
    """What the page shows before and after the box was moved, of the base alone, of the change, and its boxes."""
    (tmp_path / "profile").mkdir()
    async with chromium.browser(tmp_path / "profile") as tab:
        await tab.call("Page.enable")
        await tab.call("Page.addScriptToEvaluateOnNewDocument", source=FAULTS)
        await tab.open(address)
        await tab.until("facts !== null && facts.planner")
        await tab.js(f"at('steps').value = {STEPS}; at('caption').value = '画面里有一棵树'; at('caption').focus()")
        corners = (FIRST[:2], FIRST[2:])
        await tab.drag(*[await tab.place("#stage", *corner) for corner in corners])
        assert await tab.js("document.activeElement.value") == "树"  # the sentence's own name, to type over
        await tab.click("#draw")
        await tab.until("now !== null && running === null")
        before, bare = await tab.js("[at('with').src, at('other').src]")
        assert await tab.js("at('with').src === now.with && at('other').src === now.without && at('alert').hidden")

        middles = [((x1 + x2) / 2, (y1 + y2) / 2) for x1, y1, x2, y2 in (FIRST, SECOND)]
        await tab.drag(*[await tab.place("#stage", *middle) for middle in middles])
        await tab.until("before !== null && running === null")
        now = await tab.js("at('with').src")
        assert await tab.js("now.without") == bare
        await tab.click("[value=change] + .frame")
        assert await tab.js("document.querySelectorAll('#outlines .was').length") == 1
        told = await tab.js("at('told').textContent")
        written = await tab.js("at('json').value")

        await by_keys(tab)
        await by_planner(tab)
        await by_json(tab, tmp_path, written)
        await on_a_phone(tab)
        assert await tab.js("faults") == []
        assert await tab.js(
            "performance.getEntriesByType('resource').every(one => one.name.startsWith(location.origin))"
        )
    return before, now, bare, told, json.loads(written)["objects"]


async def by_keys(tab):
    """Tab reaches the box; arrows move it, with Shift its corner; what is wrong is told; Delete deletes."""
    await tab.js("at('live').checked = false; at('boxes').firstChild.focus()")
    start = await tab.js("editor.boxes[0].box")
    await tab.key("ArrowRight")
    await tab.key("ArrowDown", modifiers=8)
    assert await tab.js("editor.boxes[0].box") == pytest.approx(
        [start[0] + 0.01, start[1], start[2] + 0.01, start[3] + 0.01], abs=1e-9
    )
    await tab.js("at('steps').value = 1000")
    await tab.click("#draw")
    assert "步数 steps: 1000" in await tab.until("!at('alert').hidden && at('alert').textContent")
    await tab.js(f"at('steps').value = {STEPS}; at('boxes').firstChild.focus()")
    await tab.key("Delete")
    assert await tab.js("editor.boxes.length") == 0


async def by_planner(tab):
    """Without boxes the planner places them, and again for another sentence, unless a person has changed them."""
    names = "editor.boxes.map(({ name }) => name).join()"
    for caption, expected in (("左边是一棵树，右边是一座房子", "树,房子"), ("一只猫", "猫")):
        await tab.js(f"at('caption').value = {json.dumps(caption)}; at('ask').requestSubmit()")
        await tab.until(f"running === null && now.asked.caption === at('caption').value && {names} === '{expected}'")
    await tab.js(
        "editor.boxes[0].box = [0.1, 0.1, 0.4, 0.4]; at('caption').value = '一只鱼'; at('ask').requestSubmit()"
    )
    await tab.until(f"running === null && now.asked.caption === '一只鱼' && {names} === '猫'")


async def by_json(tab, tmp_path, written):
    """What the page writes `gillnext draw` reads, and the page itself."""
    (tmp_path / "boxes.json").write_text(written, encoding="utf-8")
    layout = draw.read_boxes(tmp_path / "boxes.json", "一棵树", "unit")
    await tab.js(f"editor.load([]); at('json').value = {json.dumps(written)}; at('apply').click()")
    await tab.until("editor.boxes.length === 1")
    assert await tab.js("objects()") == [{"name": "树", "bbox": pytest.approx(layout.boxes[0])}]
    await tab.js("at('json').value = '{'; at('apply').click()")
    assert "not JSON" in await tab.until("!at('alert').hidden && at('alert').textContent")


async def on_a_phone(tab):
    """Nothing is wider than the screen, and a finger moves a box."""
    for width in (390, 360):
        await tab.call("Emulation.setDeviceMetricsOverride", width=width, height=740, deviceScaleFactor=1, mobile=True)
        assert await tab.js("document.documentElement.scrollWidth") <= width
    await tab.call("Emulation.setTouchEmulationEnabled", enabled=True)
    await tab.js("editor.load([{ name: '树', box: [0.1, 0.1, 0.4, 0.4] }]); at('stage').scrollIntoView()")
    for kind, at in (("Start", (0.2, 0.2)), ("Move", (0.3, 0.3)), ("Move", (0.5, 0.4)), ("End", None)):
        x, y = await tab.place("#stage", *at) if at else (0, 0)
        await tab.call("Input.dispatchTouchEvent", type=f"touch{kind}", touchPoints=[{"x": x, "y": y}] if at else [])
    assert await tab.js("editor.boxes[0].box") == pytest.approx([0.4, 0.3, 0.7, 0.6], abs=0.02)
