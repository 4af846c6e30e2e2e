"""The world stage: bytes, shares, CSV round trip, truth, held-out layouts, bad settings."""

import csv
import dataclasses
import io
import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from PIL import Image

from gillnext import cli, layouts, release
from gillnext.config.data import Faults, World
from gillnext.config.model import Config, Sample
from gillnext.miniatures.world import corpus, heldout, scenes, stage
from gillnext.miniatures.world.classes import CLASSES
from gillnext.runtime import files
from gillnext.runtime.errors import UserError

CONFIG = Config(
    world=World(rows=3001, shards=4, strong_share=0.1, weak_share=0.05, faults=Faults(duplicate=0.1)),
    sample=Sample(test=12, relations=9),
)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    out = tmp_path_factory.mktemp("world") / "world"
    stage.make(CONFIG, out)
    return out


@pytest.fixture(scope="module")
def truth(world):
    tables = [pl.read_parquet(world / "truth" / f"{i}.parquet").with_columns(shard=i) for i in range(4)]
    return pl.concat(tables)


def test_the_same_configuration_gives_the_same_bytes_and_another_seed_others(world, tmp_path):
    stage.make(CONFIG, tmp_path / "again")
    assert files.sha256(tmp_path / "again") == files.sha256(world)
    stage.make(replace(CONFIG, run=replace(CONFIG.run, seed=1)), tmp_path / "other")
    assert files.sha256(tmp_path / "other" / "shards") != files.sha256(world / "shards")


def test_bytes_are_those_of_the_first_release(tmp_path):
    """Golden value, from this generator's first version: where it changes, so do all downstream numbers."""
    small = replace(CONFIG, world=replace(CONFIG.world, rows=200, shards=2))
    stage.make(small, tmp_path / "w")
    assert files.sha256(tmp_path / "w" / "shards")[:16] == "8c5c7f91f9d3468b"


def test_shards_read_back_by_the_csv_module_are_the_truth(world, truth):
    for i in range(4):
        with open(world / "shards" / release.shard_name(i), encoding="utf-8", newline="") as stream:
            rows = list(csv.reader(stream))
        mine = truth.filter(pl.col("shard") == i)
        assert rows[0] == ["url", "caption"]
        assert rows[1:] == [[u, c] for u, c in zip(mine["url"], mine["caption"], strict=True)]
        assert mine["row"].to_list() == list(range(len(mine)))
    assert truth["caption"].str.contains("\n").any() and truth["caption"].str.contains('"').any()
    polars = pl.read_csv(world / "shards" / release.shard_name(0))
    assert len(polars) == len(truth.filter(pl.col("shard") == 0))


def test_labels_have_exact_shares_and_urls_are_unique(truth):
    counts = dict(truth["label"].value_counts().iter_rows())
    assert counts == {"strong": 300, "weak": 150, "none": 3001 - 450}
    assert truth["url"].n_unique() == 3001
    assert truth["url"].str.starts_with(f"http://{CONFIG.world.host}/").all()


def test_faults_come_at_their_rates(truth):
    for field in dataclasses.fields(Faults):
        share = getattr(CONFIG.world.faults, field.name)
        if field.name != "duplicate":
            share *= 1 - CONFIG.world.faults.duplicate
        measured = (truth["fault"] == field.name).mean()
        assert abs(measured - share) < 4 * (share / 3001) ** 0.5, field.name


def test_relations_of_the_truth_hold_in_the_scene_that_it_names(truth):
    strong = truth.filter(pl.col("label") == "strong")
    for row in strong.iter_rows(named=True):
        scene = scenes.sample(CONFIG.run.seed, "world", row["scene"])
        middle = [((b[0] + b[2]) / 2, (b[1] + b[3]) / 2) for b in scene.boxes]
        for subject, direction, reference in json.loads(row["relations"]):
            (x, y), (u, v) = middle[subject], (0.5, 0.5) if reference is None else middle[reference]
            assert {"left": u - x, "right": x - u, "above": v - y, "below": y - v}[direction] > 0.18


def test_spatial_captions_name_their_scene_and_a_few_one_object_more(truth):
    names = {c.name for c in CLASSES}
    spatial = truth.filter(pl.col("label") != "none")
    for row in spatial.iter_rows(named=True):
        scene = scenes.sample(CONFIG.run.seed, "world", row["scene"])
        extra = {row["absent"]} - {""}
        assert {name for name in names if name in row["caption"]} == set(scene.names) | extra
        assert not extra & set(scene.names)
    share = (spatial["absent"] != "").mean()
    assert abs(share - 0.03) < 4 * (0.03 / len(spatial)) ** 0.5


def test_a_duplicate_repeats_an_earlier_row_of_its_shard_and_label(truth):
    seen = {}
    for row in truth.iter_rows(named=True):
        key = row["shard"], row["label"], row["scene"]
        if row["fault"] == "duplicate":
            assert key in seen
        else:
            assert key not in seen
            seen[key] = True


def test_held_out_layouts_name_objects_without_places_and_match_the_corpus():
    test = heldout.make(CONFIG.run.seed, "test", 12)
    assert len(test) == 12 and len(heldout.make(CONFIG.run.seed, "val", 64)) == 64
    assert {row.extra["stream"] for row in heldout.make(CONFIG.run.seed, "val", 64)} == {"val"}
    content = corpus.make(CONFIG.run.seed, "test", 12)
    for layout, scene, caption in zip(test, content.scenes, content.captions, strict=True):
        assert layout.caption == caption and layout.names == scene.names
        assert np.allclose(layout.boxes, scene.boxes)
        assert not set("左右上下旁") & set(caption)


def test_swapped_layouts_give_each_name_the_box_of_another(tmp_path):
    layouts.write(tmp_path / "test.jsonl", heldout.make(CONFIG.run.seed, "test", 12))
    assert cli.main(["swap", "--layouts", str(tmp_path / "test.jsonl"), "--out", str(tmp_path / "swapped.jsonl")]) == 0
    test = {row.id: row for row in layouts.read(tmp_path / "test.jsonl") if len(row.names) > 1}
    rows = layouts.read(tmp_path / "swapped.jsonl")
    assert len(rows) == len(test) > 0
    for row in rows:
        own = test[row.id.replace("swapped", "test")]
        assert row.caption == own.caption and row.boxes == own.boxes
        assert sorted(row.names) == sorted(own.names)
        assert all(a != b for a, b in zip(row.names, own.names, strict=True))


def test_held_out_relations_hold_between_the_rows_boxes(tmp_path):
    config = tmp_path / "config.json"
    files.write_json(config, dataclasses.asdict(CONFIG))
    out = tmp_path / "heldout" / "relations.jsonl"
    assert (
        cli.main(["heldout", "--config", str(config), "--split", "relations", "--count", "9", "--out", str(out)]) == 0
    )
    rows = layouts.read(out)
    assert len(rows) == 9
    for row in rows:
        middle = [((b[0] + b[2]) / 2, (b[1] + b[3]) / 2) for b in row.boxes]
        assert row.extra["relations"]
        for subject, direction, reference in row.extra["relations"]:
            (x, y), (u, v) = middle[subject], (0.5, 0.5) if reference is None else middle[reference]
            assert {"left": u - x, "right": x - u, "above": v - y, "below": y - v}[direction] > 0.18


def test_parts_cover_all_shards_once_in_order():
    for count, parts in ((20, 2), (7, 3), (5, 5)):
        world = World(shards=count, parts=parts)
        assert [s for p in range(parts) for s in release.part_shards(world, p)] == list(range(count))
    with pytest.raises(UserError, match="no part 2"):
        release.part_shards(World(parts=2), 2)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"shards": 0}, "world.shards"),
        ({"rows": 3, "shards": 4}, "world.shards"),
        ({"parts": 21}, "world.parts"),
        ({"strong_share": 0.9, "weak_share": 0.2}, "world.strong_share"),
        ({"faults": Faults(not_found=0.9, html=0.2)}, "world.faults"),
    ],
)
def test_settings_that_make_no_world_are_refused_by_key(change, key):
    with pytest.raises(UserError) as error:
        stage.check(replace(World(), **change))
    assert error.value.where == key


def test_a_scene_survives_its_jpeg():
    image = scenes.render(scenes.sample(1, "world", 5))
    decoded = np.asarray(Image.open(io.BytesIO(scenes.jpeg(image))))
    assert decoded.shape == (64, 64, 3)
    assert np.abs(decoded.astype(int) - image).mean() < 6
