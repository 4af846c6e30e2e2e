"""A manifest gives the split again where all pictures are there, and counts what is gone."""

import polars as pl
import pytest
from releases import read, row, settings, varied, write_parts

from gillnext.runtime.errors import UserError
from gillnext.split import manifest, sides
from gillnext.split.stage import split


def test_a_manifest_names_urls_contents_and_sides_and_no_captions(release, tmp_path):
    counts = split(settings(), release, tmp_path / "split")
    table = pl.read_parquet(tmp_path / "split" / "manifest.parquet")
    assert table.schema == manifest.COLUMNS
    assert dict(table["side"].value_counts().iter_rows()) == counts["sides"]
    side_of = {i: side for side, ids in read(tmp_path / "split").items() for i in ids}
    told = {r["sha256"]: (r["url"], r["side"]) for r in table.iter_rows(named=True)}
    assert told == {row(int(i))[1]["sha256"]: (row(int(i))[1]["url"], side) for i, side in side_of.items()}


def test_the_same_split_comes_of_it_whatever_the_settings_of_sides(release, tmp_path):
    split(settings(), release, tmp_path / "one")
    other = settings({"test": 3, "val": 2}, test=0.01, val=0.25)
    counts = split(other, release, tmp_path / "two", tmp_path / "one" / "manifest.parquet")
    for name in (
        "val.jsonl",
        "test.jsonl",
        "named.jsonl",
        "relations.jsonl",
        "reference.jsonl",
        "names.txt",
        "prior.safetensors",
    ):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    assert read(tmp_path / "one") == read(tmp_path / "two")
    assert counts["manifest"]["gone"] == dict.fromkeys(sides.SIDES, 0)


def test_what_is_gone_or_not_named_or_another_picture_is_counted(release, tmp_path):
    split(settings(), release, tmp_path / "one")
    ids = read(tmp_path / "one")
    lost, changed = set(ids["test"][:4] + ids["train"][:7]), ids["train"][10]
    rows = [r for r in varied(0, 100) + varied(100, 100) + varied(200, 100) if r[0].id not in lost]
    for layout, about in rows:
        if layout.id == changed:
            about["sha256"] = "0" * 63 + "1"
    parts = write_parts(tmp_path / "later", rows, varied(300, 50))
    counts = split(settings(), parts, tmp_path / "two", tmp_path / "one" / "manifest.parquet")
    assert counts["manifest"] == {
        "entries": sum(map(len, ids.values())),
        "gone": dict.fromkeys(sides.SIDES, 0) | {"train": 8, "test": 4},
        "gone_with_another_picture_at_the_url": dict.fromkeys(sides.SIDES, 0) | {"train": 1},
    }
    here = {side: [i for i in found if i not in lost | {changed}] for side, found in ids.items()}
    assert read(tmp_path / "two") == here
    assert counts["rows_dropped"] == {"not in the manifest": counts["rows"] - sum(map(len, here.values()))}


def test_a_manifest_of_another_release_is_refused(release, tmp_path):
    split(settings(), release, tmp_path / "one")
    parts = write_parts(tmp_path / "other", varied(5000, 50))
    with pytest.raises(UserError, match=r"not one of 50 layouts is left: \{'not in the manifest': 50\}"):
        split(settings(), parts, tmp_path / "two", tmp_path / "one" / "manifest.parquet")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"side": "trian"}, "side 'trian' are none"),
        ({"sha256": "abc"}, "sha256 'abc'"),
        ({"sha256": None}, "sha256 None"),
        ({"side": None}, "side None"),
    ],
)
def test_a_wrong_row_is_told_by_its_place(tmp_path, change, what):
    good = {"url": "u", "sha256": "0" * 64, "side": "train"}
    pl.DataFrame([good, good | {"sha256": "1" * 64} | change], schema=manifest.COLUMNS).write_parquet(tmp_path / "m")
    with pytest.raises(UserError, match=f"m, row 1: .*{what}"):
        manifest.read(tmp_path / "m")


def test_what_is_no_manifest_is_refused(tmp_path):
    (tmp_path / "text").write_text("url,sha256,side")
    pl.DataFrame({"url": ["u"]}).write_parquet(tmp_path / "columns")
    twice = {"url": ["u", "v"], "sha256": ["0" * 64] * 2, "side": ["train", "test"]}
    pl.DataFrame(twice).write_parquet(tmp_path / "twice")
    for name, what in {
        "text": "no manifest",
        "columns": "no manifest",
        "twice": "comes twice",
        "none": "no manifest",
    }.items():
        with pytest.raises(UserError, match=what):
            manifest.read(tmp_path / name)
