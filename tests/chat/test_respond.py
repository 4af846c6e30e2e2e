"""Test conversations drawn in several ways: each from what it may know, all on the same noise."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image

from gillnext import conversations, layouts
from gillnext.adapter import pipeline as grounded
from gillnext.adapter.model import SpatialAdapter
from gillnext.chat import respond as stage
from gillnext.chat.artist import Artist
from gillnext.chat.ways import WAYS
from gillnext.conversations import Conversation, Turn, text_of
from gillnext.layouts import Layout
from gillnext.runtime.errors import UserError

BOX, OTHER = (0.1, 0.2, 0.5, 0.6), (0.5, 0.4, 0.9, 0.9)
PLANS = "<obj>树</obj><box>[100,100,500,600]</box>", "<obj>车</obj><box>[500,100,900,600]</box>，还有"


def story(name, colours):
    """A story with a sentence and a picture for each colour word."""
    turns = [
        Turn(f"{c}色的树。", f"{name}-{i}.png", Layout(f"{c}树和车", ("树", "车"), (BOX, OTHER)), ((0, "left", 1),))
        for i, c in enumerate(colours)
    ]
    return Conversation(name, "story", tuple(turns))


ROWS = [story("s0", "红绿蓝"), story("s1", "绿绿绿"), story("s2", "蓝红红")]


class Plans:
    """A planner that always answers the same, one time without an end."""

    def __init__(self):
        self.asked = []

    def answer(self, texts, *, constrained=True, batch=128):
        assert not constrained  # a dialogue's 没有 would be required by the grammar
        self.asked += texts
        return [PLANS[i % 2] for i in range(len(texts))]


@pytest.fixture(scope="module")
def adapter(tmp_path_factory, tiny_base, awake):
    folder = tmp_path_factory.mktemp("adapter")
    torch.manual_seed(0)
    awake(SpatialAdapter.for_unet(grounded.load(tiny_base).unet, site="attn2", width=16)).save_pretrained(folder / "a")
    return folder / "a"


@pytest.fixture
def planner(monkeypatch):
    """Stands in for the planner's folder."""
    stand_in = Plans()
    monkeypatch.setattr("gillnext.chat.artist.Planner.from_pretrained", lambda folder, device: stand_in)
    return stand_in


@pytest.fixture
def run(tiny, talker, adapter, planner, tmp_path):
    conversations.write(tmp_path / "test.jsonl", ROWS)
    (tmp_path / "planner").mkdir()

    def respond(ways, out="out"):
        stage.respond(
            tiny.config, talker, tmp_path / "test.jsonl", tiny.base, adapter, tmp_path / "planner", ways, tmp_path / out
        )
        return tmp_path / out

    return respond


def pictures(folder):
    return np.stack([np.asarray(Image.open(p)) for p in sorted(folder.glob("*.png"))]).astype(int)


def test_every_way_has_its_pictures_and_rows_as_sample_writes_them(run):
    out = run(list(WAYS))
    assert {p.name for p in out.iterdir()} == {*WAYS, "truth.jsonl", "respond.json"}
    for name, way in WAYS.items():
        rows = layouts.read(out / name / "layouts.jsonl")
        assert [(row.id, row.image_path) for row in rows] == [(f"s{i}", f"0000{i}.png") for i in range(3)]
        assert pictures(out / name).shape == (3, 64, 64, 3)
        names = [row.names for row in rows]
        assert names == ([("树",), ("车",), ("树",)] if way.boxes == "planned" else [("树", "车")] * 3)
        assert [row.caption for row in rows] == [row.turns[-1].layout.caption for row in ROWS]
    truth = layouts.read(out / "truth.jsonl")
    assert truth[0].extra == {"kind": "story", "relations": [[0, "left", 1]]} and truth[0].boxes == (BOX, OTHER)
    told = json.loads((out / "respond.json").read_text())
    assert told["counts"]["planner"] == {"plans": 3, "broken plans": 1}
    assert not out.with_name("out.work").exists()


def test_each_way_draws_from_what_it_may_know_and_on_equal_noise(run, tiny, talker, adapter, planner):
    """Against the pipeline itself, asked by hand for each picture."""
    out, cfg = run(list(WAYS)), tiny.config
    assert planner.asked == [text_of(row.turns) for row in ROWS]
    keys = [(cfg.run.seed, 0, i) for i in range(3)]
    states = {
        "gill-1": talker.read([row.turns[-1:] for row in ROWS], out, pictures=False),
        "gill-2": talker.read([row.turns[-2:] for row in ROWS], out, pictures=False),
        "gill-5": talker.read([row.turns for row in ROWS], out, pictures=False),
        "gill-pictures": talker.read([row.turns for row in ROWS], out),
        "gill-shuffled": talker.read([ROWS[i].turns for i in (1, 2, 0)], out),
    }
    states["next"] = states["next-true"] = states["gill-pictures"]
    texts = {
        "caption": [row.turns[-1].layout.caption for row in ROWS], "last": [row.turns[-1].text for row in ROWS],
        "dialogue": [text_of(row.turns) for row in ROWS],
    }  # fmt: skip
    texts |= {"caption-planned": texts["caption"], "caption-true": texts["caption"]}
    true = [row.turns[-1].layout for row in ROWS]
    plan = [Layout("", ("树",), ((0.1, 0.1, 0.5, 0.6),)), Layout("", ("车",), ((0.5, 0.1, 0.9, 0.6),))]
    boxes = {"next": [*plan, plan[0]], "next-true": true, "caption-planned": [*plan, plan[0]], "caption-true": true}
    for name in {*states, *texts}:
        pipeline = grounded.load(tiny.base, adapter if name in boxes else None)
        read = states.get(name)
        images, _ = pipeline.draw(
            texts.get(name, [""] * 3), boxes.get(name, [Layout("", (), ())] * 3), keys=keys, steps=cfg.sample.steps,
            guidance=cfg.sample.guidance, embeds=(read.states, read.pooled) if read else None,
        )  # fmt: skip
        # Batches of two and one in the stage, of three here: rounding alone may differ.
        assert np.abs(pictures(out / name) - (images * 255).round()).max() <= 2, name
    assert len({pictures(out / name).tobytes() for name in WAYS}) >= 12  # of a story of three, gill-3 to -5 agree


def test_a_killed_run_keeps_its_ways_and_pictures(run, monkeypatch):
    ways = ["caption", "gill-1", "next-true"]
    whole, drawn = run(ways, "whole"), []
    draw = Artist.draw

    def counted(self, captions, *args):
        drawn.append(len(captions))
        if len(drawn) == 4:
            raise KeyboardInterrupt
        return draw(self, captions, *args)

    monkeypatch.setattr(Artist, "draw", counted)
    with pytest.raises(KeyboardInterrupt):
        run(ways)
    out = run(ways)
    assert drawn == [2, 1, 2, 1, 1, 2, 1]
    for name in ways:
        np.testing.assert_array_equal(pictures(out / name), pictures(whole / name))


def test_what_cannot_be_drawn_is_told(tiny, talker, tmp_path):
    conversations.write(tmp_path / "test.jsonl", [ROWS[0]])

    def respond(ways, adapter=None, planner=None):
        stage.respond(tiny.config, talker, tmp_path / "test.jsonl", tiny.base, adapter, planner, ways, tmp_path / "out")

    with pytest.raises(UserError, match="next need --adapter"):
        respond(["caption", "next"])
    with pytest.raises(UserError, match="next need --planner"):
        respond(["next"], adapter=tmp_path)
    with pytest.raises(UserError, match="but one story"):
        respond(["gill-shuffled"])
    unknown = dataclasses.replace(ROWS[0], turns=(Turn("一棵树。"),))
    conversations.write(tmp_path / "test.jsonl", [unknown])
    with pytest.raises(UserError, match="not known: 's0'"):
        respond(["last"])
