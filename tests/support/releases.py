"""Small releases of synthetic layouts, with the fingerprints of pictures that nobody drew."""

import hashlib

import numpy as np
import polars as pl

from gillnext import layouts
from gillnext.config.load import from_dict
from gillnext.layouts import Layout
from gillnext.split import fingerprint
from gillnext.split.pictures import parts_of

SHARES = {"val": 0.1, "test": 0.2, "relations": 0.2, "reference": 0.05}
SIZES = {"val": 5, "test": 20, "relations": 6}


def settings(sizes=None, curve=0, **split):
    """Settings with large held-out shares, for few rows."""
    return from_dict({"split": SHARES | split, "sample": SIZES | (sizes or {}), "curve": {"images": curve}})


def row(number, names=("猫", "树"), boxes=None, caption="图片里猫在树的左边", **about):
    """A layout and its fingerprint; `about` overrides columns of the latter."""
    boxes = boxes or tuple(
        (0.1 + 0.5 * i / len(names), 0.2, 0.3 + 0.5 * i / len(names), 0.6) for i in range(len(names))
    )
    image, url = f"images/{number}.jpg", f"http://example.org/{number}"
    layout = Layout(caption, tuple(names), tuple(boxes), f"{number:05d}", image, {"url": url})
    digest = hashlib.sha256(str(number).encode()).digest()
    print_ = {"image_path": image, "url": url, "sha256": digest.hex(), "width": 640, "height": 480, "reason": ""}
    return layout, print_ | {"phash": int.from_bytes(digest[8:16], "big")} | about


def write_part(folder, name, rows):
    """A part of these rows: its layouts and its fingerprints."""
    source, table = folder / "layouts" / f"{name}.jsonl", folder / "fingerprints" / f"{name}.parquet"
    layouts.write(source, [layout for layout, _ in rows])
    table.parent.mkdir(exist_ok=True, parents=True)
    pl.DataFrame([about for _, about in rows], schema=fingerprint.COLUMNS).write_parquet(table)
    return source, table


def write_parts(folder, *parts):
    """Parts 0, 1, … of these rows."""
    paths = [write_part(folder, str(i), rows) for i, rows in enumerate(parts)]
    return parts_of([source for source, _ in paths], [table for _, table in paths])


def varied(first, count):
    """Rows with 1 to 4 objects, half of them with a relation that their boxes agree with."""
    rng = np.random.default_rng(first)
    names = ("猫", "树", "汽车", "船")
    captions = ("图片里猫在树的左边", "一只猫和别的")
    return [
        row(n, names[: int(rng.integers(1, 5))], caption=captions[int(rng.integers(2))])
        for n in range(first, first + count)
    ]


def read(out):
    """Ids of a split's layouts by side."""
    found = {side: [r.id for r in layouts.read(out / f"{side}.jsonl")] for side in (*SIZES, "reference")}
    return found | {"train": [r.id for path in sorted((out / "train").glob("*")) for r in layouts.read(path)]}
