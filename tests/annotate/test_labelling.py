"""The labelling page: boxes under a mouse in headless Chromium, its logic in Node, its CSV in the strict reader."""

import asyncio
import json
import re
import shutil
import subprocess
from pathlib import Path

import chromium
import pytest
from PIL import Image

from gillnext import editor, layouts
from gillnext.annotate import labels
from gillnext.annotate.review import review
from gillnext.layouts import Layout
from gillnext.runtime.errors import UserError

LOGIC = [Path(editor.__file__).with_name("boxes.js"), Path(labels.__file__).with_name("label.js")]
in_browser = pytest.mark.skipif(
    not chromium.find(),
    reason="no Chromium on PATH, and the variable CHROMIUM names none: test_logic_… covers the rest",
)
in_node = pytest.mark.skipif(not shutil.which("node"), reason="Node.js is not on this machine")


@pytest.fixture
def page(tmp_path):
    """A page of three images: of 400 × 200 pixels, with one box, two and none; beside it the CSV to fill in."""
    boxes = {
        "a,b.png": (("猫", (0.1, 0.2, 0.5, 0.8)),),
        "b.png": (("树", (0, 0, 0.5, 1)), ("猫", (0.5, 0, 1, 1))),
        "c.png": (),
    }
    rows = []
    for i, (name, objects) in enumerate(boxes.items()):
        Image.new("RGB", (400, 200), (90 * i, 80, 0)).save(tmp_path / name)
        caption = f"第{i}张</script><script>window.broken = 1</script>"
        rows.append(Layout(caption, tuple(n for n, _ in objects), tuple(b for _, b in objects), str(i), name))
    layouts.write(tmp_path / "layouts.jsonl", rows)
    out = tmp_path / "labels.html"
    assert review([tmp_path / "layouts.jsonl"], tmp_path, out, 3, 0, False, label=True) == 3
    return out


def order(page):
    """The images in the order of the page."""
    return [item["image"] for item in data(page)["items"]]


def data(page):
    return json.loads(re.search(r'id="data">(.*?)</script>', page.read_text(encoding="utf-8"), re.S)[1])


def test_the_page_holds_its_pictures_and_the_csv_beside_it_is_to_be_filled_in(page):
    text = page.read_text(encoding="utf-8")
    assert not re.findall(r'(?:src|href)="(?!data:)[^"]', text) and "http" not in text
    assert text.count("</script>") == 3 and text.count("data:image/jpeg;base64,") == 3
    assert sorted(order(page)) == ["a,b.png", "b.png", "c.png"] and data(page)["names"] == ["树", "猫"]
    table = page.with_suffix(".csv")
    assert table.read_bytes().startswith(b"\xef\xbb\xbfimage,name,x1,y1,x2,y2\n")
    with pytest.raises(UserError, match=r"line 2.*not filled in"):
        labels.read(table)


@in_browser
def test_boxes_are_drawn_moved_resized_named_and_deleted_in_the_browser(page, tmp_path):
    found = asyncio.run(labelled(page, tmp_path))
    assert sorted(found) == ["a,b.png", "b.png", "c.png"]
    assert found["c.png"].names == ('新 "的", 狗',)
    assert found["c.png"].boxes[0] == pytest.approx((0.25, 0.25, 0.75, 0.5), abs=0.01)
    assert found["a,b.png"].names == ("猫",)  # moved right by a tenth, its lower right corner by (0.1, 0.1)
    assert found["a,b.png"].boxes[0] == pytest.approx((0.2, 0.2, 0.7, 0.9), abs=0.01)
    assert found["b.png"].names == ("大树",)  # the cat is deleted, the tree moved by keys, and then its corner
    assert found["b.png"].boxes[0] == pytest.approx((0.01, 0.0, 0.515, 1.0), abs=1e-6)


async def labelled(page, tmp_path):
    """What the CSV says after a session: each image once, a restart between, then the CSV loaded in another browser."""
    places, files = {image: i for i, image in enumerate(order(page))}, tmp_path / "downloads"
    for folder in ("one", "two", "downloads"):
        (tmp_path / folder).mkdir()

    async def at(tab, image):
        for _ in places:
            await tab.key("PageUp")
        for _ in range(places[image]):
            await tab.key("PageDown")
        assert await tab.js("at('path').textContent") == image

    async with chromium.browser(tmp_path / "one") as tab:
        await tab.open(page.as_uri())
        await tab.until("at('picture').complete && at('picture').naturalWidth > 0")
        await at(tab, "c.png")
        await tab.drag(*[await tab.place("#stage", *p) for p in ((0.75, 0.5), (0.5, 0.4), (0.25, 0.25))])
        await tab.key("Enter")
        assert "no name" in await tab.js("at('told').textContent")
        await tab.write('新 "的", 狗')
        await tab.key("Enter")
        assert await tab.js("items.filter(one => one.done).length") == 1
        await at(tab, "a,b.png")
        start = await tab.place("#stage", 0.3, 0.5)
        await tab.drag(start, await tab.place("#stage", 0.35, 0.6), await tab.place("#stage", 0.4, 0.5))
        corner = await tab.place(".box.selected i.se")
        await tab.drag(corner, await tab.place("#stage", 0.7, 0.9))
        await tab.key("Enter")
        await asyncio.sleep(0.5)  # what a page keeps is written behind its back
    async with chromium.browser(tmp_path / "one") as tab:
        await tab.open(page.as_uri())
        assert await tab.js("items.filter(one => one.done).length") == 2
        await at(tab, "b.png")
        await tab.drag(await tab.place("#stage", 0.75, 0.5))
        await tab.key("Delete")
        await tab.drag(await tab.place("#stage", 0.25, 0.5))
        await tab.key("ArrowRight")
        await tab.key("ArrowDown")
        await tab.key("ArrowRight", modifiers=8)
        await tab.key("ArrowRight")
        await tab.js("at('list').children[0].firstChild.select()")
        await tab.write("大树")
        await tab.key("Enter")
        await tab.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(files))
        await tab.click("#download")
        await ended(files / "labels.csv")
        whole = (files / "labels.csv").read_text(encoding="utf-8-sig")
    found = labels.read(files / "labels.csv")
    async with chromium.browser(tmp_path / "two") as tab:
        await tab.open(page.as_uri())
        assert await tab.js("items.filter(one => one.done).length") == 0
        (tmp_path / "bad.csv").write_text("image,name,x1,y1,x2,y2\nb.png,猫,0.5,0,0.4,1\n", encoding="utf-8")
        await tab.choose("#load", tmp_path / "bad.csv")
        assert "bad.csv, line 2" in await tab.until("at('told').textContent")
        await tab.choose("#load", files / "labels.csv")
        await tab.until("at('told').textContent === '3 images read'")
        assert await tab.js("toCsv(items).slice(1)") == whole
        assert await tab.js("window.broken === undefined && at('caption').textContent.includes('</script>')")
    return found


async def ended(path):
    for _ in range(100):
        if path.exists() and path.stat().st_size:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"no {path.name}")


def node(script):
    """The JSON that a script of Node prints, with the page's logic as `page`."""
    page = ", ".join(f"...require({json.dumps(str(path))})" for path in LOGIC)
    text = f"const page = {{ {page} }}; console.log(JSON.stringify((() => {{ {script} }})()))"
    return json.loads(subprocess.run(["node", "-e", text], check=True, capture_output=True, text=True).stdout)


@in_node
def test_logic_boxes_stay_in_the_image_and_never_turn_over():
    assert node("return page.moved([0.1, 0.2, 0.5, 0.8], 0.7, -0.5)") == pytest.approx([0.6, 0, 1, 0.6])
    assert node("return page.resized([0.1, 0.2, 0.5, 0.8], 'nw', 0.9, -0.9)") == pytest.approx([0.496, 0, 0.5, 0.8])
    assert node("return page.resized([0.1, 0.2, 0.5, 0.8], 'e', 0.9, 0.9)") == pytest.approx([0.1, 0.2, 1, 0.8])
    assert node("return page.between([0.9, -0.2], [0.3, 0.5])") == pytest.approx([0.3, 0, 0.9, 0.5])
    assert node("return page.between([0.5, 0.5], [0.501, 0.9])") is None


@in_node
def test_logic_what_the_page_writes_both_readers_read(tmp_path):
    items = [
        {"image": 'a "b", c.png', "done": True, "boxes": [{"name": "  红,  色 \t", "box": [0, 0.25, 1 / 3, 1]}]},
        {"image": "空.png", "done": True, "boxes": []},
        {"image": "later.png", "done": False, "boxes": [{"name": "猫", "box": [0, 0, 1, 1]}]},
    ]
    text = node(f"return page.toCsv({json.dumps(items)})")
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
    found = labels.read(tmp_path / "labels.csv")
    assert [(image, row.names, row.boxes) for image, row in found.items()] == [
        ('a "b", c.png', ("红, 色",), ((0.0, 0.25, 0.333333, 1.0),)),
        ("空.png", (), ()),
    ]
    again = node(f"return [...page.fromCsv({json.dumps(text)})]")
    assert again == [['a "b", c.png', [{"name": "红, 色", "box": [0, 0.25, 0.333333, 1]}]], ["空.png", []]]
    labels.write_blank(tmp_path / "blank.csv", ["a.png"])
    blank = (tmp_path / "blank.csv").read_text(encoding="utf-8")
    assert node(f"return [...page.fromCsv({json.dumps(blank)})]") == []


@in_node
@pytest.mark.parametrize(
    "row",
    ["a.png,猫,0,0,1", "a.png,猫,0,0,2,1", "a.png,,0,0,1,1", "a.png,猫,0.5,0,0.5,1", "a.png,猫,,0,1,1", ",猫,0,0,1,1"],
)
def test_logic_a_bad_row_is_told_with_its_line(row, tmp_path):
    text = f"image,name,x1,y1,x2,y2\nb.png,,,,,\n{row}\n"
    script = f"try {{ page.fromCsv({json.dumps(text)}) }} catch (error) {{ return error.message }}"
    assert node(script).startswith("line 3: ")
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"labels\.csv, line 3"):
        labels.read(tmp_path / "labels.csv")
