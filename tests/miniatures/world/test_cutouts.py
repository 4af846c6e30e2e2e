"""A folder of cut-outs as a world: reading, boxes against pixels, sides, captions; and folders that are refused."""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from gillnext.config.data import World
from gillnext.config.model import Config
from gillnext.miniatures import labelled_captions
from gillnext.miniatures.world import captions, corpus, cutouts, heldout, objects, photographs, prior, scenes, stage
from gillnext.miniatures.world.server import Site
from gillnext.runtime import files, seeds
from gillnext.runtime.errors import UserError

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

import cutout_folder
from cutout_folder import ROWS, write


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return cutout_folder.make(tmp_path_factory.mktemp("cutouts") / "folder")


@pytest.fixture(scope="module")
def world(folder):
    return objects.Objects.cutouts(folder, 64)


def test_kinds_are_numbered_in_the_tables_order_and_the_last_of_several_is_held_out(folder, world):
    assert world.names == ["狗", "牛", "杯子", "公交车", "梨"] and world.ids["公交车"] == 3
    assert world.kinds[1].phrase == "一头牛"
    assert [cut.file for cut in cutouts.read(folder) if cut.held_out] == ["dog-3.png", "pear-2.png"]


def test_cut_outs_lose_their_empty_margins(folder):
    for cut in cutouts.read(folder):
        opaque = cut.rgba[..., 3] >= 128
        assert opaque[0].any() and opaque[-1].any() and opaque[:, 0].any() and opaque[:, -1].any()


def test_a_box_is_where_the_objects_pixels_are_at_any_size(world):
    """Against the picture itself: an object alone on a ground that it differs from."""
    for index in range(12):
        scene = world.sample(3, "base", index)
        for thing in scene.objects:
            alone = dataclasses.replace(scene, top=(0, 0, 0), bottom=(0, 0, 0), behind=None, objects=(thing,))
            for size in (64, 256):
                shown = world.draw(alone, size).max(2)
                ys, xs = np.nonzero(shown > shown.max() / 2)
                seen = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]) / size
                assert np.abs(seen - thing.box).max() <= 1.5 / size


def test_a_scene_is_a_function_of_seed_stream_and_index(world, folder):
    again = objects.Objects.cutouts(folder, 64)
    for index in range(5):
        scene = world.sample(3, "base", index)
        assert scene == again.sample(3, "base", index)
        assert np.array_equal(world.render(scene), again.render(scene))
    assert world.sample(3, "base", 0) != world.sample(3, "clip", 0) != world.sample(4, "clip", 0)


def test_scenes_hold_one_to_four_different_kinds_inside_the_picture(world):
    found = [world.sample(5, "base", i) for i in range(150)]
    assert {len(scene.objects) for scene in found} == {1, 2, 3, 4}
    for scene in found:
        assert len(set(scene.names)) == len(scene.names)
        assert (scene.boxes >= 0).all() and (scene.boxes <= 1).all()
        for i, one in enumerate(scene.boxes):
            assert all(scenes.cover(one, other) <= photographs.OVERLAP + 1e-3 for other in scene.boxes[:i])
    grounds = [(scene.behind is not None, scene.top == scene.bottom) for scene in found]
    assert set(grounds) == {(True, False), (False, False), (False, True)}


def test_the_later_object_stands_before_the_earlier_one(world):
    first, second = world.sample(3, "base", 0).objects[0], world.sample(3, "base", 7).objects[0]
    there = [dataclasses.replace(thing, box=(0.2, 0.2, 0.8, 0.8)) for thing in (first, second)]
    scene = dataclasses.replace(world.sample(3, "base", 0), behind=None)
    both = world.render(dataclasses.replace(scene, objects=tuple(there)))
    last = world.render(dataclasses.replace(scene, objects=tuple(there[1:])))
    assert np.array_equal(both[32, 32], last[32, 32])


def test_training_never_shows_a_held_out_cut_out_and_tests_show_no_other_of_their_kind(world, folder):
    held = {i for i, cut in enumerate(cutouts.read(folder)) if cut.held_out}
    alone = {3, 4, 5}  # the only pictures of their kinds
    shown = {
        stream: {thing.cutout for i in range(150) for thing in world.sample(1, stream, i).objects}
        for stream in ("base", "world", "annotator", "val", "test", "relations-test", "evaluator")
    }
    for stream in ("base", "world", "annotator"):
        assert not shown[stream] & held
    for stream in ("val", "test", "relations-test"):
        assert shown[stream] == held | alone
    assert shown["evaluator"] == set(range(len(ROWS)))


def test_captions_layouts_and_the_prior_are_of_its_kinds(world):
    made = corpus.make(2, "test", 20, world)
    assert made.images.shape == (20, 64, 64, 3)
    rows = heldout.make(2, "test", 20, world)
    for scene, row, caption in zip(made.scenes, rows, made.captions, strict=True):
        assert row.caption == caption and {name for name in world.names if name in caption} == set(scene.names)
        assert "插画" not in caption and "卡通" not in caption
        _, extra = captions.absent(caption, scene, seeds.rng("x", 1), kinds=world.kinds)
        assert extra in world.names and extra not in scene.names
    drawn = prior.boxes(2, 0, 1, 3, world)
    assert drawn.shape == (3, 4) and (drawn >= 0).all() and (drawn <= 1).all()
    texts, _ = labelled_captions.examples(2, 200, world)
    assert any("公交车" in text for text in texts)


def test_captions_call_drawn_cut_outs_drawings(folder, tmp_path):
    drawn = tmp_path / "drawn"
    drawn.mkdir()
    for name, *_ in ROWS:
        (drawn / name).write_bytes((folder / name).read_bytes())
    write(drawn, [(*row, "drawing") for row in ROWS], "file,name,measure,medium")
    said = " ".join(corpus.make(2, "base", 120, objects.Objects.cutouts(drawn, 64)).captions)
    assert "插画" in said and "卡通" in said and "照片" not in said and "实拍" not in said
    assert {cut.medium for cut in cutouts.read(drawn)} == {"drawing"}
    assert {cut.medium for cut in cutouts.read(folder)} == {"photograph"}
    with pytest.raises(UserError, match="no medium 'film'"):
        cutouts.read(write(drawn, [(*row, "film") for row in ROWS], "file,name,measure,medium"))
    mixed = [(*row, "drawing" if i else "photograph") for i, row in enumerate(ROWS)]
    with pytest.raises(UserError, match="medium drawing, and photograph in line 2") as error:
        cutouts.read(write(drawn, mixed, "file,name,measure,medium"))
    assert error.value.where.endswith("line 3")


def test_the_world_stage_and_the_server_take_the_cut_outs(folder, tmp_path):
    config = Config(world=World(rows=120, shards=2, strong_share=0.2, weak_share=0.1, objects=str(folder), size=96))
    stage.make(config, tmp_path / "w")
    told = files.read_json(tmp_path / "w/world.json")["world"]
    assert told["size"] == 96 and told["objects_sha256"] == files.sha256(folder)
    truth = pl.concat([pl.read_parquet(tmp_path / f"w/truth/{i}.parquet") for i in range(2)])
    made = objects.of(config)
    for row in truth.filter(pl.col("label") != "none").iter_rows(named=True):
        names = set(made.sample(config.run.seed, "world", row["scene"]).names) | ({row["absent"]} - {""})
        assert {name for name in made.names if name in row["caption"]} == names
        assert json.loads(row["relations"]) or row["label"] == "weak"
    assert len(Site(tmp_path / "w").picture(0)) > 500


@pytest.mark.parametrize(
    ("change", "what", "line"),
    [
        (("gone.png", "羊", "只"), "no picture gone.png", 10),
        (("opaque.png", "羊", "只"), "has no alpha channel", 10),
        (("empty.png", "羊", "只"), "transparent all over", 10),
        (("text.png", "羊", "只"), "is no picture", 10),
        (("thin.png", "羊", "只"), "30 × 5 pixels", 10),
        (("huge.png", "羊", "只"), "5000 × 5000 pixels", 10),
        (("link.png", "羊", "只"), "leads out of the folder", 10),
        (("/etc/hostname", "羊", "只"), "no path inside the folder", 10),
        (("../cow.png", "羊", "只"), "no path inside the folder", 10),
        (("cow.png", "羊", "只"), "stands in line 5 too", 10),
        (("dog-4.png", "狗", "只"), "条 in line 2", 10),
        (("dog-4.png", "dog", "只"), "not of Chinese characters", 10),
        (("dog-4.png", "羊", ""), "not of Chinese characters", 10),
        (("dog-4.png", "狗子", "条"), "狗 is a part of 狗子", 2),
    ],
)
def test_a_folder_that_makes_no_world_is_refused_with_its_line(folder, tmp_path, change, what, line):
    broken = tmp_path / "broken"
    broken.mkdir()
    for name, *_ in ROWS:
        (broken / name).write_bytes((folder / name).read_bytes())
    Image.new("RGB", (20, 20)).save(broken / "opaque.png")
    Image.new("RGBA", (20, 20)).save(broken / "empty.png")
    Image.new("RGBA", (30, 5), (9, 9, 9, 255)).save(broken / "thin.png")
    Image.new("L", (5000, 5000)).save(broken / "huge.png")
    (broken / "text.png").write_text("no picture")
    (broken / "link.png").symlink_to(folder / "cow.png")
    with pytest.raises(UserError, match=what) as error:
        cutouts.read(write(broken, [*ROWS, change]))
    assert error.value.where.endswith(f"objects.csv, line {line}") and error.value.remedy


def test_tables_without_a_column_or_with_too_few_names_are_refused(tmp_path):
    with pytest.raises(UserError, match="lacks the column measure"):
        cutouts.read(write(tmp_path / "a", [("x.png", "狗")], "file,name"))
    with pytest.raises(UserError, match="2 different names"):
        cutouts.read(write(tmp_path / "b", ROWS[2:4]))
    with pytest.raises(UserError, match="no such folder"):
        objects.of(Config(world=World(objects=str(tmp_path / "c"))))
    with pytest.raises(UserError, match="no split"):
        cutouts.read(write(tmp_path / "d", [("x.png", "狗", "条", "both")], "file,name,measure,split"))
    with pytest.raises(UserError, match="100 pixels"):
        objects.of(Config(world=World(size=100)))
