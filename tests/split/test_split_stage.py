"""The split of a release: sides that stay, copies that go, counts that add up, and refusals that say what to do."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from releases import SIZES, read, row, settings, varied, write_part, write_parts

from gillnext import layouts, relations
from gillnext.cli import main
from gillnext.layouts import Layout
from gillnext.runtime.errors import UserError
from gillnext.score.boxes import Requested
from gillnext.score.chance import Prior
from gillnext.split import sides
from gillnext.split.pictures import Part, parts_of
from gillnext.split.stage import split


def test_every_row_is_on_one_side_or_counted(release, tmp_path):
    counts = split(settings(), release, tmp_path / "split")
    ids = read(tmp_path / "split")
    every = [i for side in ids.values() for i in side]
    assert len(set(every)) == len(every)
    assert {side: len(rows) for side, rows in ids.items()} == counts["sides"]
    assert len(every) + sum(counts["spare"].values()) + sum(counts["rows_dropped"].values()) == counts["rows"] == 300
    assert {side: counts["sides"][side] for side in SIZES} == SIZES
    assert 0 < len(ids["reference"]) <= 20
    assert counts == json.loads((tmp_path / "split" / "counts.json").read_text())
    assert sorted(path.name for path in (tmp_path / "split" / "train").iterdir()) == ["0.jsonl", "1.jsonl", "2.jsonl"]


def test_rows_carry_their_pictures_content_and_size(release, tmp_path):
    split(settings(), release, tmp_path / "split")
    for layout in layouts.read(tmp_path / "split" / "test.jsonl"):
        _, told = row(int(layout.id))
        assert layout.extra == {key: told[key] for key in ("url", "sha256", "width", "height")}


def test_a_picture_never_changes_sides_when_shards_are_added(tmp_path):
    """Of 200 rows, then of 400 with the same first: those of the first have the sides that they had."""
    before, added = [varied(0, 100), varied(100, 100)], [varied(200, 200)]
    for kind in ("first", "group"):
        few = split_of(tmp_path / f"few-{kind}", before, duplicates=kind)
        many = split_of(tmp_path / f"many-{kind}", before + added, duplicates=kind)
        for side in SIZES:
            assert many[side][: len(few[side])] == few[side], side
        assert [i for i in many["train"] if int(i) < 200] == few["train"]
        assert few["train"] and len(many["train"]) > len(few["train"])


def split_of(folder, parts, sizes=None, **kind):
    split(settings(sizes, **kind), write_parts(folder, *parts), folder / "split")
    return read(folder / "split")


def test_sides_are_by_content_alone(tmp_path):
    """In another order and other parts, with other captions: the same pictures are held out, where all find room."""
    sizes = {"val": 300, "test": 300, "relations": 300}
    rows = varied(0, 150)
    one = split_of(tmp_path / "one", [rows], sizes)
    other = split_of(tmp_path / "other", [rows[::-1][:70], rows[::-1][70:]], sizes)
    assert {side: sorted(ids) for side, ids in one.items()} == {side: sorted(ids) for side, ids in other.items()}


def test_shares_are_shares(tmp_path):
    place_N = np.random.default_rng(0).integers(2**64, size=100_000, dtype=np.uint64)
    found = sides.stretches(place_N, settings().split)
    shares = np.bincount(found, minlength=5) / len(found)
    assert shares == pytest.approx([0.45, 0.1, 0.2, 0.2, 0.05], abs=0.01)  # train, val, test, relations, reference


def test_copies_of_all_parts_go_and_the_first_stays(tmp_path):
    same = [row(1), row(500, url="http://example.org/1"), row(501, sha256=row(1)[1]["sha256"])]
    near = [row(502, phash=row(2)[1]["phash"] ^ 0b1011), row(503, phash=row(2)[1]["phash"] ^ 0b1111100000)]
    counts = split(settings(), write_parts(tmp_path, varied(0, 100), same[1:], near), tmp_path / "split")
    assert counts["rows_dropped"] == {"same content": 1, "same URL": 1, "near-duplicate": 1}
    kept = {i for ids in read(tmp_path / "split").values() for i in ids}
    assert not {"00500", "00501", "00502"} & kept


def test_rows_without_a_url_are_no_copies_of_each_other(tmp_path):
    rows = [row(n, url="") for n in range(120)]
    assert split(settings(), write_parts(tmp_path, rows), tmp_path / "split")["rows_dropped"] == {}


def test_near_duplicates_can_stay_on_one_side(tmp_path):
    """Each of 150 pictures with two near ones: all of a group on the side of its first, as with the first alone."""
    first = varied(0, 150)
    near = [
        row(1000 * copy + n, phash=first[n][1]["phash"] ^ copy, caption=first[n][0].caption)
        for copy in (1, 2) for n in range(150)
    ]  # fmt: skip
    sizes = {"val": 900, "test": 900, "relations": 900}
    ids = split_of(tmp_path, [first, near], sizes, duplicates="group")
    side = {int(i): name for name, found in ids.items() for i in found}
    groups = [{side[n] for n in (k, 1000 + k, 2000 + k) if n in side} for k in range(150)]
    assert all(len(group) <= 1 for group in groups)
    assert sum(len([n for n in (k, 1000 + k, 2000 + k) if n in side]) == 3 for k in range(150)) > 100
    alone = split_of(tmp_path / "alone", [first], sizes)
    assert set(ids["test"]) >= set(alone["test"]) and len(ids["test"]) == 3 * len(alone["test"])


def test_a_picture_between_two_groups_goes_and_both_keep_their_sides(tmp_path):
    """The third is near a training picture and near a test picture; neither moves for it."""
    rows = varied(0, 150)
    ids = split_of(tmp_path / "before", [rows], duplicates="group")
    train, test = int(ids["train"][0]), int(ids["test"][0])
    rows[train][1]["phash"], rows[test][1]["phash"] = 0, 0b11111111
    between = row(900, phash=0b1111)
    counts = split(settings(duplicates="group"), write_parts(tmp_path, rows, [between]), tmp_path / "split")
    assert counts["rows_dropped"] == {sides.BETWEEN: 1}
    after = read(tmp_path / "split")
    assert f"{train:05d}" in after["train"] and f"{test:05d}" in after["test"] and after["test"] == ids["test"]


def test_held_out_relations_are_stated_and_hold(release, tmp_path):
    split(settings(), release, tmp_path / "split")
    rows = layouts.read(tmp_path / "split" / "relations.jsonl")
    assert [relations.stated(r) for r in rows] == [[(0, "left", 1)]] * 6
    assert all(r.caption == "图片里猫在树的左边" for r in rows)


def test_named_captions_are_of_the_test_boxes(release, tmp_path):
    split(settings(), release, tmp_path / "split")
    test, named = (layouts.read(tmp_path / "split" / f"{name}.jsonl") for name in ("test", "named"))
    assert [(r.id, r.boxes, r.names, r.extra) for r in named] == [(r.id, r.boxes, r.names, r.extra) for r in test]
    phrases = {"猫": "一只猫", "树": "一棵树", "汽车": "一辆汽车", "船": "一艘船"}
    for r in named:
        assert all(phrases[name] in r.caption for name in r.names) and "左" not in r.caption


def test_names_are_all_of_the_sets_the_most_frequent_first(release, tmp_path):
    split(settings(), release, tmp_path / "split")
    assert (tmp_path / "split" / "names.txt").read_text(encoding="utf-8").split() == ["猫", "树", "汽车", "船"]


def test_the_prior_is_the_scores_own_and_of_training_layouts(release, tmp_path):
    """Every box of it is one of a training layout with as many boxes; another seed draws others."""
    split(settings(), release, tmp_path / "split")
    prior = Prior.load(tmp_path / "split" / "prior.safetensors")
    assert prior.boxes_DICN4.shape == (5, 20, 4, 4, 4)
    train = [r for path in (tmp_path / "split" / "train").iterdir() for r in layouts.read(path)]
    known = {r.boxes for r in train}
    for i, layout in enumerate(layouts.read(tmp_path / "split" / "test.jsonl")):
        for draw in range(5):
            wanted = Requested(np.zeros(len(layout.names)), np.array(layout.boxes))
            assert tuple(map(tuple, prior.redraw(wanted, draw, i).boxes.tolist())) in known
    drawn = {tuple(map(tuple, boxes)) for boxes in prior.boxes_DICN4[:, :, 1, :2].reshape(-1, 2, 4).tolist()}
    assert len(drawn) >= 1


def test_rows_with_more_boxes_than_slots_are_counted_and_kept(tmp_path):
    names = [f"物{i}" for i in range(9)]
    boxes = [(0.1 * i, 0.1, 0.1 * i + 0.09, 0.9) for i in range(9)]
    wide = [row(n, names, boxes) for n in range(1000, 1040)]
    counts = split(settings(), write_parts(tmp_path, varied(0, 100), wide), tmp_path / "split")
    long = sum(int(i) >= 1000 for i in read(tmp_path / "split")["train"])
    assert counts["train_over_slots"] == long > 0
    assert max(len(r.names) for r in layouts.read(tmp_path / "split" / "train" / "1.jsonl")) == 9
    assert counts["prior_nearest"] == {}  # nobody asks for 5 to 8 boxes


def test_rows_of_unreadable_pictures_are_counted_by_reason(tmp_path):
    gone = [row(n, reason="image missing", sha256="", phash=0) for n in range(1000, 1003)]
    gone.append(row(1003, reason="unreadable image", sha256="", phash=0))
    counts = split(settings(), write_parts(tmp_path, varied(0, 100), gone), tmp_path / "split")
    assert counts["rows_dropped"] == {"image missing": 3, "unreadable image": 1}


def test_a_release_whose_pictures_are_all_gone_is_refused(tmp_path):
    rows = [row(n, reason="image missing", sha256="", phash=0) for n in range(10)]
    with pytest.raises(UserError, match=r"not one of 10 pictures is left: \{'image missing': 10\}") as told:
        split(settings(), write_parts(tmp_path, rows), tmp_path / "split")
    assert "gillnext fingerprint" in told.value.remedy and not (tmp_path / "split").exists()


def test_a_release_without_layouts_is_refused(tmp_path):
    with pytest.raises(UserError, match="there is not one layout in any part"):
        split(settings(), write_parts(tmp_path, [], []), tmp_path / "split")


def test_a_release_whose_boxes_are_all_at_fault_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"not one of 100 layouts is left: \{'box too small': 100\}"):
        split(settings(least_area=0.9), write_parts(tmp_path, varied(0, 100)), tmp_path / "split")


@pytest.mark.parametrize(("side", "kind"), [("test", {"test": 0.0}), ("val", {"val": 0.0})])
def test_an_empty_side_is_refused_by_name(release, tmp_path, side, kind):
    with pytest.raises(UserError, match=f"the side '{side}' is empty") as told:
        split(settings(**kind), release, tmp_path / "split")
    assert f"raise split.{side}" in told.value.remedy and f"sample.{side} to 0" in told.value.remedy
    assert split(settings({side: 0}, **kind), release, tmp_path / "split")["sides"][side] == 0


def test_fewer_validation_layouts_than_the_curve_needs_are_refused(release, tmp_path):
    with pytest.raises(UserError, match=r"validation layouts are fewer than curve\.images, 100") as told:
        split(settings({"val": 100}, curve=100), release, tmp_path / "split")
    assert "split.val" in told.value.remedy


def test_a_release_that_states_no_relation_is_refused(tmp_path):
    rows = [row(n, caption="一只猫和一棵树") for n in range(100)]
    with pytest.raises(UserError, match="the side 'relations' is empty"):
        split(settings(), write_parts(tmp_path, rows), tmp_path / "split")


def test_shares_that_would_overlap_are_refused(release, tmp_path):
    with pytest.raises(UserError, match=r"split\.test: is more than a quarter"):
        split(settings(test=0.3), release, tmp_path / "split")


def test_fingerprints_of_other_layouts_are_refused(release, tmp_path):
    write_part(tmp_path / "more", "0", varied(0, 99))
    other = Part(release[0].layouts, tmp_path / "more" / "fingerprints" / "0.parquet")
    with pytest.raises(UserError, match="is of other layouts"):
        split(settings(), [other, *release[1:]], tmp_path / "split")
    with pytest.raises(UserError, match="not of the same parts"):
        parts_of([release[0].layouts], [release[1].fingerprints])


def test_numbered_parts_are_in_the_order_of_their_numbers():
    given = [Path(f"{name}.x") for name in ("0", "10", "2")]
    assert [part.name for part in parts_of(given, given)] == ["0", "2", "10"]
    given = [Path(f"{name}.x") for name in ("b", "10", "2")]
    assert [part.name for part in parts_of(given, given)] == ["b", "10", "2"]


def test_the_command_writes_the_folder_and_tells_its_counts(release, tmp_path, capsys):
    config = tmp_path / "c.json"
    config.write_text(
        json.dumps(
            {"split": {"test": 0.2, "val": 0.1, "relations": 0.2}, "curve": {"images": 1}, "sample": {"test": 20}}
        )
    )
    sources, prints = ([str(getattr(p, kind)) for p in release] for kind in ("layouts", "fingerprints"))
    out = ["--out", str(tmp_path / "s")]
    assert main(["split", "--config", str(config), "--layouts", *sources, "--fingerprints", *prints, *out]) == 0
    assert "split: 300 rows: {'train':" in capsys.readouterr().out
    assert pl.read_parquet(tmp_path / "s" / "manifest.parquet").columns == ["url", "sha256", "side"]


def test_scores_of_boxes_are_read_where_there_are_any(tmp_path):
    rows = varied(0, 100)
    part = write_parts(tmp_path, rows)[0]
    lines = [json.loads(line) for line in part.layouts.read_text(encoding="utf-8").splitlines()]
    for line in lines[:40]:
        line["objects"][0]["score"] = 0.3
    part.layouts.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    counts = split(settings(least_confidence=0.5), [part], tmp_path / "split")
    assert counts["boxes_dropped"] == {"box unsure": 40}
    alone = sum(len(layout.names) == 1 for layout, _ in rows[:40])
    assert counts["rows_dropped"] == {"box unsure": alone}
    assert isinstance(layouts.read(tmp_path / "split" / "test.jsonl")[0], Layout)
