"""Tables and figures of Learnable Regions: every number is the record's."""

import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from gillnext.regions.keep import EDITS
from gillnext.supplement import regions, regions_figures

KEYS = (
    "success", "made", "in_region", "found", "features", "directional", "text", "iou", "area", "kept", "psnr",
    "psnr_median", "psnr_35",
)  # fmt: skip


def part(start, n=6, seeds=3):
    scores = {key: {"value": start + 0.01 * i, "interval": [start, start + 1]} for i, key in enumerate(KEYS)}
    return {"n": n, "seeds": seeds, "scores": scores}


@pytest.fixture
def scores():
    ways = {
        way: {name: part(0.1 * k + 0.001 * j) for j, name in enumerate(regions.PARTS)}
        for k, way in enumerate(regions.WAYS)
    }
    for group in ways["true"].values():
        group["scores"]["psnr"] = {"value": None, "interval": None}
    apart = {key: {"value": 0.2, "interval": [-0.1, 0.3]} for key in KEYS}
    filled = {"ways": ways, "contrasts": {"learned − random": apart}}
    eyes = {"strongest": 0.9, "spread": 0.8, "chance": 0.3, "n": 20}
    made = {"eyes": {"anchors": 9, "trained": eyes, "untrained": eyes | {"strongest": 0.5}}, "leader": None}
    return {"n": 18, "filled": {"filled": filled, "kept": filled}, "made": made}


def test_every_way_has_its_own_row_and_number(scores):
    found = {table.name: table for table in regions.tables(scores)}
    rows = found["regions"].rows
    assert [row[1].text for row in rows] == 2 * list(regions.WAYS.values())
    assert [row[2].text for row in rows[: len(regions.WAYS)]] == [f"{0.1 * k:.3f}" for k in range(len(regions.WAYS))]
    true = rows[list(regions.WAYS).index("true")]
    assert "∞" in [cell.text for cell in true]
    assert found["regions_contrasts"].rows[0][2].text == "+0.200 (−0.100 to 0.300)"
    assert [row[2].text for row in found["regions_models"].rows] == ["0.900", "0.800"]


def test_the_order_of_the_file_changes_nothing(scores):
    sorted_ = json.loads(json.dumps(scores, sort_keys=True))
    ours, theirs = ([table.rows for table in regions.tables(one)] for one in (scores, sorted_))
    assert ours == theirs


def test_what_the_text_quotes_is_there(scores):
    found = regions.numbers(scores)
    assert found["regions.filled.learned.named.success"] == "0.001" and found["regions.anchors.chance"] == "0.300"
    assert found["regions.filled.learned-random"] == "+0.200 (−0.100 to 0.300)"
    assert found["regions.filled.true.all.psnr"] == "∞"


def test_figures_show_the_archive(scores, tmp_path):
    pictures = {"source/a.png": 10, "filled/learned/a.png": 200}
    row = {
        "file": "a.png", "kind": "replace", "box": [0.1, 0.1, 0.5, 0.5], "prompts": ["一只猫", "一棵树"],
        "ways": {"filled/learned": {"box": [0.2, 0.2, 0.6, 0.6], "anchors": []}},
    }  # fmt: skip
    with zipfile.ZipFile(tmp_path / "regions.zip", "w") as archive:
        archive.writestr(EDITS, json.dumps([row]))
        for name, value in pictures.items():
            with archive.open(name, "w") as entry:
                Image.fromarray(np.full((8, 8, 3), value, np.uint8)).save(entry, "PNG")
    drawn = regions_figures.figures(scores, tmp_path / "regions.zip")
    edits, _ = drawn["regions_edits"]
    assert len(edits.axes) == 2 and (edits.axes[1].images[0].get_array()[0, 0] == 200).all()
    trade, _ = drawn["regions_trade"]
    assert len(trade.axes[0].texts) == 2 * (len(regions.WAYS) - 1)
