"""The download stage on a small world: outcomes against the truth, resume after a kill, any concurrency."""

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace

import polars as pl
import pytest
import yaml
from PIL import Image

from gillnext.config.model import Config, Download, Faults, Sample, World
from gillnext.download import stage as download_stage
from gillnext.download.journal import Journal, Outcome
from gillnext.runtime import files
from gillnext.runtime.errors import UserError
from gillnext.world import stage as world_stage

FAULTS = Faults(
    not_found=0.06,
    server_error=0.06,
    stall=0.02,
    slow=0.04,
    truncated=0.08,
    html=0.06,
    tiny=0.05,
    redirect=0.06,
    duplicate=0.12,
)
CONFIG = Config(
    world=World(rows=400, shards=2, parts=1, strong_share=0.6, weak_share=0.2, faults=FAULTS),
    sample=Sample(test=2, relations=2),
    download=Download(concurrency=16, read_timeout=1.0, total_timeout=3.0, backoff=0.05),
)
ENDS = {  # fault of the truth -> outcome
    "": "ok",
    "server_error": "ok",
    "slow": "ok",
    "redirect": "ok",
    "not_found": "not_found",
    "stall": "timeout",
    "truncated": "truncated",
    "html": "not_image",
    "tiny": "too_small",
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    out = tmp_path_factory.mktemp("small") / "world"
    world_stage.make(CONFIG, out)
    return out


@pytest.fixture(scope="module")
def truth(world):
    tables = [pl.read_parquet(world / "truth" / f"{i}.parquet").with_columns(shard=i) for i in range(2)]
    return pl.concat(tables).filter(pl.col("label") != "none")


@pytest.fixture(scope="module")
def table(world, truth):
    path = world.parent / "filtered.parquet"
    truth.select("url", "caption", pl.col("label").alias("spatial_type"), "shard", "row").write_parquet(path)
    return path


@pytest.fixture(scope="module")
def finished(world, table):
    folder = world.parent / "first"
    download_stage.download(CONFIG, table, folder / "images", folder / "index.jsonl", world)
    return folder


def contents(folder):
    """Everything that a run leaves, comparable between runs in different folders."""
    index = [
        row | {"image_path": os.path.basename(row["image_path"])} for row in files.read_jsonl(folder / "index.jsonl")
    ]
    status = pl.read_parquet(folder / "images" / "status.parquet").select("shard", "row", "kind").rows()
    return index, status, files.read_json(folder / "index.json"), sorted(os.listdir(folder / "images"))


def test_every_row_ends_as_its_fault_says(finished, truth):
    status = pl.read_parquet(finished / "images" / "status.parquet")
    first = {}
    for row, kind in zip(truth.iter_rows(named=True), status["kind"], strict=True):
        expected = ENDS.get(row["fault"], "ok")
        if expected == "ok":
            expected = "ok" if first.setdefault(row["scene"], row["url"]) == row["url"] else "duplicate"
        assert kind == expected, row
    assert set(status["kind"]) == {*ENDS.values(), "duplicate"}


def test_counts_index_and_images_agree(finished, truth):
    index, status, counts, names = contents(finished)
    assert counts["rows"] == len(truth) == len(status) == sum(counts["outcomes"].values())
    assert counts["kept"] == counts["outcomes"]["ok"] == len(index)
    assert names == sorted([row["image_path"] for row in index] + ["status.parquet"])
    captions = {(r["shard"], r["row"]): r["caption"] for r in truth.iter_rows(named=True)}
    for row in index:
        data = (finished / "images" / row["image_path"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == row["sha256"]
        assert Image.open(finished / "images" / row["image_path"]).size == (row["width"], row["height"]) == (64, 64)
        assert captions[row["shard"], row["row"]] == row["caption"]
    assert len({row["sha256"] for row in index}) == len(index)
    assert not (finished / "images.work").exists()


def test_rows_of_the_index_are_in_the_tables_order(finished):
    keys = [(row["shard"], row["row"]) for row in files.read_jsonl(finished / "index.jsonl")]
    assert keys == sorted(keys)


def test_a_killed_run_goes_on_and_ends_alike(world, table, finished, tmp_path):
    slow = replace(CONFIG, download=replace(CONFIG.download, concurrency=3))
    settings = json.loads(json.dumps(slow, default=vars))
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    command = [sys.executable, "-m", "gillnext.cli", "download", "--config", str(tmp_path / "config.yaml"),
               "--table", str(table), "--world", str(world), "--images", str(tmp_path / "images"),
               "--out", str(tmp_path / "index.jsonl")]  # fmt: skip
    journal = tmp_path / "images.work" / "journal.jsonl"
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and (not journal.exists() or journal.read_bytes().count(b"\n") < 60):
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "index.jsonl").exists() and not (tmp_path / "images").exists()
    done = len(journal.read_text(encoding="utf-8").splitlines()) - 1
    assert 60 <= done < 320
    with open(journal, "a", encoding="utf-8") as stream:
        stream.write('{"index": 3, "ki')  # what a kill in the middle of a write leaves
    asked = []
    original = download_stage.fetch_row

    async def counted(client, journal, index, row):
        asked.append(index)
        return await original(client, journal, index, row)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(download_stage, "fetch_row", counted)
        download_stage.download(CONFIG, table, tmp_path / "images", tmp_path / "index.jsonl", world)
    assert 0 < len(asked) <= 320 - done + 10
    assert contents(tmp_path) == contents(finished)


def outcome(index, data=b"x"):
    return Outcome(index, "ok", "", f"{index}.jpg", hashlib.sha256(data).hexdigest(), 1, 1)


def test_the_journal_believes_only_whole_images_and_final_outcomes(tmp_path):
    with Journal(tmp_path / "w", "job", batch=1) as journal:
        for i in range(3):
            journal.keep(f"{i}.jpg", b"x")
            journal.add(outcome(i))
        journal.add(Outcome(3, "not_found"))
        journal.add(Outcome(4, "connection"))
    (tmp_path / "w/files/1.jpg").write_bytes(b"y")
    (tmp_path / "w/files/2.jpg").unlink()
    (tmp_path / "w/files/.9.jpg.part").write_bytes(b"")
    with Journal(tmp_path / "w", "job") as journal:
        assert sorted(journal.done) == [0, 3]
        assert not list((tmp_path / "w/files").glob(".*"))
    with Journal(tmp_path / "w", "another job") as journal:
        assert not journal.done and not list(journal.images.iterdir())


def test_a_full_disk_is_told_and_keeps_what_was_fetched(tmp_path, monkeypatch):
    with Journal(tmp_path / "w", "job", batch=1) as journal:
        journal.keep("0.jpg", b"x")
        journal.add(outcome(0))

        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("gillnext.download.journal.os.replace", full)
        with pytest.raises(UserError, match="no space left"):
            journal.keep("1.jpg", b"x")
        monkeypatch.undo()
    with Journal(tmp_path / "w", "job") as journal:
        assert list(journal.done) == [0]


def test_a_full_disk_ends_the_stage_with_a_user_error(world, table, tmp_path, monkeypatch):
    def full(self, name, data):
        raise UserError("no space left while writing an image", where=name)

    monkeypatch.setattr(Journal, "keep", full)
    with pytest.raises(UserError, match="no space left"):
        download_stage.download(CONFIG, table, tmp_path / "images", tmp_path / "index.jsonl", world)


def test_a_table_without_its_columns_is_refused_by_name(tmp_path):
    pl.DataFrame({"url": ["u"], "caption": ["c"]}).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(UserError, match="spatial_type, shard, row"):
        download_stage.read_table(tmp_path / "t.parquet")
    with pytest.raises(UserError, match="gillnext filter"):
        download_stage.read_table(tmp_path / "none.parquet")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 nonsense")
    with pytest.raises(UserError, match="not a Parquet table"):
        download_stage.read_table(tmp_path / "bad.parquet")


def test_an_empty_table_gives_an_empty_index(tmp_path, table):
    pl.read_parquet(table).head(0).write_parquet(tmp_path / "t.parquet")
    download_stage.download(CONFIG, tmp_path / "t.parquet", tmp_path / "images", tmp_path / "index.jsonl")
    assert list(files.read_jsonl(tmp_path / "index.jsonl")) == []
    assert files.read_json(tmp_path / "index.json")["rows"] == 0


def test_a_world_on_another_host_is_refused(world, table, tmp_path):
    other = replace(CONFIG, world=replace(CONFIG.world, host="other.example"))
    with pytest.raises(UserError, match=r"other\.example"):
        download_stage.download(other, table, tmp_path / "images", tmp_path / "index.jsonl", world)


def test_an_unreachable_network_is_an_error_and_not_a_dead_release(tmp_path, table, monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    pl.read_parquet(table).head(4).write_parquet(tmp_path / "t.parquet")
    monkeypatch.setattr(download_stage, "hosts_of", _nowhere(port))
    with pytest.raises(UserError, match="not one address could be reached"):
        download_stage.download(CONFIG, tmp_path / "t.parquet", tmp_path / "images", tmp_path / "index.jsonl")


def _nowhere(port):
    from contextlib import nullcontext

    return lambda config, world: nullcontext({CONFIG.world.host: ("127.0.0.1", port)})
