"""A release whose pictures are all gone, through the stages; and what a refused split leaves of the one before it."""

import dataclasses
import json

import polars as pl
import pytest
from releases import read, settings, write_parts

from gillnext.cli import main
from gillnext.config.data import Download, Faults, World
from gillnext.config.model import Config, Sample
from gillnext.download import stage as download_stage
from gillnext.miniatures.networks import faster_rcnn
from gillnext.miniatures.world import stage as world_stage
from gillnext.miniatures.world.server import running
from gillnext.runtime.errors import UserError
from gillnext.split.pictures import parts_of
from gillnext.split.stage import split

GONE = Faults(**dict.fromkeys((one.name for one in dataclasses.fields(Faults)), 0.0) | {"not_found": 1.0})
DEAD = Config(
    world=World(rows=60, shards=1, parts=1, strong_share=0.8, weak_share=0.1, faults=GONE),
    sample=Sample(test=2, relations=2),
    download=Download(concurrency=8),
)


def test_of_links_that_are_all_dead_every_stage_tells_and_the_split_refuses_with_where_to_look(tmp_path, monkeypatch):
    """The counts of what was lost stay, and no stage takes nothing for a mistake of its own."""
    monkeypatch.chdir(tmp_path)
    world_stage.make(DEAD, tmp_path / "world")
    truth = pl.read_parquet("world/truth/0.parquet").filter(pl.col("label") != "none").with_columns(shard=0)
    truth.select("url", "caption", pl.col("label").alias("spatial_type"), "shard", "row").write_parquet("0.parquet")
    with running(tmp_path / "world") as address:
        places = [tmp_path / name for name in ("0.parquet", "images", "0.jsonl")]
        download_stage.download(DEAD, *places, {DEAD.world.host: address})
    told = json.loads((tmp_path / "0.json").read_text())
    assert told["outcomes"]["not_found"] == told["rows"] == len(truth) and told["kept"] == 0
    faster_rcnn.AnnotatorNetwork(["猫", "树"], 64, 16).save_pretrained(tmp_path / "annotator")
    (tmp_path / "config.yaml").write_text("{}")
    assert main(["annotate", "--index", "0.jsonl", "--model", "annotator", "--out", "layouts/0.jsonl"]) == 0
    assert json.loads((tmp_path / "layouts/0.json").read_text())["rows"] == 0
    assert main(["fingerprint", "--layouts", "layouts/0.jsonl", "--out", "fingerprints/0.parquet"]) == 0
    parts = parts_of([tmp_path / "layouts/0.jsonl"], [tmp_path / "fingerprints/0.parquet"])
    with pytest.raises(UserError, match=r"not one layout in any part") as refused:
        split(settings(), parts, tmp_path / "split")
    assert "index/" in refused.value.remedy and "links may be dead" in refused.value.remedy
    assert not (tmp_path / "split").exists() and (tmp_path / "0.json").exists()


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("wanted", "told"),
    [({"test": 0.0}, "the side 'test' is empty"), ({"least_area": 0.9}, "not one of 300 layouts is left")],
)
def test_a_split_that_is_refused_leaves_the_one_before_it_whole(release, tmp_path, wanted, told):
    out = tmp_path / "split"
    split(settings(), release, out)
    before = contents(out)
    with pytest.raises(UserError, match=told):
        split(settings(**wanted), release, out)
    assert contents(out) == before and read(out)["test"]
    with pytest.raises(UserError, match="not one layout in any part"):
        split(settings(), write_parts(tmp_path / "empty", []), out)
    assert contents(out) == before
