"""The studio's server, with a painter that draws bare boxes: who is let in, what is refused, whose turn it is."""

import asyncio
import base64
import io
import json
import re
import threading
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import numpy as np
import pytest
from PIL import Image

from gillnext.layouts import Layout
from gillnext.runtime.errors import UserError
from gillnext.studio import asks, stage
from gillnext.studio.server import HEADERS, Studio, serve

BOX = [0.25, 0.25, 0.75, 0.5]
ASKED = {
    "page": "one", "caption": "一棵树", "objects": [{"name": "树", "bbox": BOX}],
    "arm": "attn2, seed 0", "seed": 5, "steps": 4, "guidance": 3.0,
}  # fmt: skip


class FakePainter:
    """Draws white boxes, of the seed's grey where there is no adapter; waits for `go`."""

    def __init__(self):
        self.base, self.drawn, self.go, self.began = Path("base"), [], threading.Event(), threading.Event()
        self.planner = SimpleNamespace(nouns=("猫", "树"))
        self.go.set()

    def begin(self):
        self.thread = threading.current_thread()

    def stop(self):
        self.go.set()

    def plan(self, caption):
        if "树" not in caption:
            raise UserError("it names nothing", where="the caption", remedy="name some of 猫、树")
        return Layout(caption, ("树",), (tuple(BOX),)), ["a warning"]

    def remarks(self, layout):
        return [] if layout.names else ["no boxes"]

    def paint(self, layout, adapter, seed, steps, guidance):
        assert threading.current_thread() is self.thread
        self.began.set()
        assert self.go.wait(20)
        if layout.caption == "bug":
            raise RuntimeError("a bug")
        self.drawn.append((layout.caption, layout.boxes, adapter, seed, steps, guidance))
        picture = np.zeros((8, 8, 3), np.uint8) if adapter else np.full((8, 8, 3), seed, np.uint8)
        for x1, y1, x2, y2 in (np.array(layout.boxes) * 8).astype(int).reshape(-1, 4):
            picture[y1:y2, x1:x2] = 255
        return picture


@pytest.fixture
def painter():
    return FakePainter()


@pytest.fixture
def visit(painter):
    """Runs `visitor(get)` with the studio served; `get(path, data)` gives status, headers and body."""

    async def run(visitor):
        studio = Studio(painter, {"attn2, seed 0": Path("attn2"), "attn1, seed 0": Path("attn1")}, 4, 3.0)
        told, stop = asyncio.get_running_loop().create_future(), asyncio.Event()
        server = asyncio.create_task(serve(studio, 0, told.set_result, stop))
        try:
            address = await asyncio.wait_for(told, 20)
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(20)) as session:

                async def get(path, data=None, at=address, method=None, raw=None, headers=None):
                    method = method or ("GET" if data is None else "POST")
                    async with session.request(method, at + path, json=data, data=raw, headers=headers) as answer:
                        return answer.status, answer.headers, await answer.read()

                get.address = address
                return await visitor(get)
        finally:
            stop.set()
            await asyncio.wait_for(server, 20)

    return lambda visitor: asyncio.run(run(visitor))


def pixels(uri):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def test_the_page_is_whole_and_fetches_nothing_from_elsewhere(visit):
    async def visitor(get):
        status, headers, body = await get("")
        assert status == 200 and headers["Content-Type"] == "text/html; charset=utf-8"
        assert {key: headers[key] for key in HEADERS} == HEADERS and "default-src 'none'" in str(headers)
        page = body.decode()
        names = re.findall(r'(?:src|href)="(?!data:)([^"]+)"', page)
        assert {"editor.js", "boxes.js", "studio.js", "studio.css"} <= set(names)
        texts = [page, *[(await get(name))[2].decode() for name in names]]
        assert {(await get(name))[0] for name in names} == {200}
        assert not [text for text in texts if re.search(r"(https?:)?//(?!www\.w3\.org/2000/svg)\w+\.\w", text)]
        assert not re.search(r"<script>|<style|\son\w+=|style=", page)  # which the policy would not let run
        facts = json.loads((await get("facts"))[2])
        assert facts["arms"] == ["attn2, seed 0", "attn1, seed 0"] and facts["names"] == ["猫", "树"]

    visit(visitor)


def test_without_the_token_and_under_another_name_there_is_nothing(visit):
    async def visitor(get):
        root = get.address.rsplit("/", 2)[0]
        for path in ("/", "/x/", "/facts", "/x/draw", get.address[len(root) :].lower(), "/%00/", "/%ff/facts"):
            for data in (None, ASKED):
                status, _, body = await get(path, data, at=root)
                assert status in (404, 405), path
                assert b"seed 0" not in body
        for host in ("evil.example", "evil.example:80", "127.0.0.1", "0.0.0.0:1", ""):
            status, _, body = await get("", headers={"Host": host})
            assert status == 421 and json.loads(body)["what"] == "not this server"
        port = root.rsplit(":", 1)[1]
        assert (await get("", headers={"Host": f"localhost:{port}"}))[0] == 200
        with pytest.raises(aiohttp.ClientConnectorError):
            await get("", at=get.address.replace("127.0.0.1", "127.0.0.2"))  # it listens on one address alone

    visit(visitor)


def test_a_sentence_is_planned_and_drawn_with_and_without_the_adapter(visit, painter):
    async def visitor(get):
        status, _, body = await get("plan", {"page": "one", "caption": " 一棵树\n"})
        planned = json.loads(body)
        assert status == 200 and planned == {"objects": [{"name": "树", "bbox": BOX}], "warnings": ["a warning"]}
        told = json.loads((await get("draw", ASKED | {"objects": planned["objects"]}))[2])
        assert pixels(told["with"])[:, :, 0].sum() == 255 * 8 and (pixels(told["without"]) == 5).all()
        assert told["warnings"] == [] and told["seconds"] >= 0
        assert painter.drawn == [
            ("一棵树", (tuple(BOX),), Path("attn2"), 5, 4, 3.0),
            ("一棵树", (), None, 5, 4, 3.0),
        ]
        moved = ASKED | {"objects": [{"name": "树", "bbox": [0, 0, 0.5, 0.5]}], "arm": "attn1, seed 0"}
        assert json.loads((await get("draw", moved))[2])["without"] == told["without"]
        assert [one[2] for one in painter.drawn[2:]] == [Path("attn1")]  # the bare picture is not drawn again
        status, _, body = await get("plan", {"page": "one", "caption": "沙发"})
        wanted = {"what": "it names nothing", "where": "the caption", "remedy": "name some of 猫、树"}
        assert status == 400 and json.loads(body) == wanted

    visit(visitor)


@pytest.mark.parametrize(
    ("change", "where", "said"),
    [
        ({"caption": " "}, "sentence", "no sentence"),
        ({"caption": "树" * 301}, "sentence", "301 characters"),
        ({"caption": "\ud800"}, "sentence", "no sentence"),
        ({"caption": 5}, "sentence", "no sentence"),
        ({"objects": [{"name": "树", "bbox": BOX}] * 7}, "boxes", "7 boxes"),
        ({"objects": [{"name": " ", "bbox": BOX}]}, "boxes, box 0", "'name'"),
        ({"objects": [{"name": "树" * 41, "bbox": BOX}]}, "boxes, box 1", "41 characters"),
        ({"objects": [{"name": "树", "bbox": [0.2, 0.2, 1.2, 0.5]}]}, "box 0 (树)", "out of the range"),
        ({"objects": [{"name": "树", "bbox": [0.5, 0.2, 0.2, 0.5]}]}, "box 0 (树)", "reversed"),
        ({"objects": [{"name": "树", "bbox": [0.5, True, 0.6, 0.5]}]}, "box 0 (树)", "finite number"),
        ({"objects": "树"}, "boxes", "not a list"),
        ({"arm": "attn3"}, "arm", "no arm here"),
        ({"arm": ["attn2"]}, "arm", "no arm here"),
        ({"seed": -1}, "seed", "-1"),
        ({"seed": 1.5}, "seed", "1.5"),
        ({"seed": None}, "seed", "None"),
        ({"seed": 2**32}, "seed", str(2**32)),
        ({"steps": 0}, "steps", "0"),
        ({"steps": 101}, "steps", "101"),
        ({"steps": float("inf")}, "steps", "inf"),
        ({"guidance": 21}, "guidance", "21"),
        ({"guidance": "3"}, "guidance", "'3'"),
        ({"page": ""}, "page", "no page"),
        ({"more": 1}, "request", "fields"),
    ],
)
def test_what_is_not_right_is_refused_with_its_place_and_what_to_do(change, where, said, visit, painter):
    async def visitor(get):
        status, _, body = await get("draw", ASKED | change)
        told = json.loads(body)
        assert status == 400 and where in told["where"] and said in told["what"] and told["remedy"]

    visit(visitor)
    assert painter.drawn == []


def test_bodies_that_are_no_requests_are_refused(visit):
    async def visitor(get):
        kind = {"Content-Type": "application/json"}
        for body, expected in ((b"{", 400), (b"\xff", 400), (b"[" * 60000, 400), (b"1", 400), (b" " * 70000, 413)):
            status, _, told = await get("draw", method="POST", headers=kind, raw=body)
            assert status == expected and json.loads(told)["what"], body[:5]
        assert (await get("draw", method="POST", headers={"Content-Type": "text/plain"}, raw=b"{}"))[0] == 415
        assert (await get("draw"))[0] == 404 and (await get("facts", {}))[0] == 404
        assert (await get("draw", method="PUT"))[0] in (404, 405)

    visit(visitor)


def test_a_fault_of_the_studio_is_told_and_the_next_request_is_answered(visit, capsys):
    async def visitor(get):
        status, _, body = await get("draw", ASKED | {"caption": "bug"})
        assert status == 500 and "RuntimeError: a bug" in json.loads(body)["what"]
        assert (await get("draw", ASKED))[0] == 200

    visit(visitor)
    assert "RuntimeError: a bug" in capsys.readouterr().err


def test_a_newer_request_of_a_page_takes_the_place_of_the_one_that_waits(visit, painter):
    async def visitor(get):
        async def drawing(seed, page="one"):
            return (await get("draw", ASKED | {"seed": seed, "page": page}))[0]

        async def until(condition):
            async with asyncio.timeout(20):
                while not condition():
                    await asyncio.sleep(0.01)

        painter.go.clear()
        first = asyncio.create_task(drawing(1))
        await until(painter.began.is_set)
        second = asyncio.create_task(drawing(2))
        other = asyncio.create_task(drawing(3, "two"))
        assert (await get("facts"))[0] == 200  # the page is alive meanwhile
        await asyncio.sleep(0.2)
        third = asyncio.create_task(drawing(4))
        assert await second == 409  # at once, while the first one is still being drawn
        painter.go.set()
        assert [await one for one in (first, other, third)] == [200, 200, 200]
        assert [one[3] for one in painter.drawn] == [1, 1, 3, 3, 4, 4]

    visit(visitor)


def test_pasted_boxes_are_read_in_every_form_of_the_command_line():
    rows = [{"name": "猫", "bbox": [0.1, 0.2, 0.3, 0.4]}]
    thousandths = {"猫": [100, 200, 300, 400]}
    for data in (rows, {"objects": rows}, {"猫": rows[0]["bbox"]}, thousandths):
        caption, layout = asks.pasted(json.dumps(data))
        assert caption == "" and layout.names == ("猫",) and layout.boxes[0] == pytest.approx((0.1, 0.2, 0.3, 0.4))
    assert asks.pasted(json.dumps({"caption": "一只猫", "objects": rows}))[0] == "一只猫"
    for text in ("", "[", '{"猫": [0, 0, 1, 1], "猫": [0, 0, 1, 1]}', "5", "[" * 9999, json.dumps(rows * 7), None):
        with pytest.raises(UserError, match="JSON"):
            asks.pasted(text)


def test_arms_are_named_by_their_records_and_never_alike(tmp_path):
    for name, arm in (("a", "attn1"), ("b", "attn1"), ("c", None)):
        (tmp_path / name).mkdir()
        if arm:
            (tmp_path / name / "training.json").write_text(json.dumps({"arm": arm, "seed": 2}))
    a, b, c = (tmp_path / name for name in "abc")
    assert stage.named([a, b, c]) == {"attn1, seed 2": a, f"attn1, seed 2 ({b})": b, str(c): c}
