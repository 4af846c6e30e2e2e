"""The download stage on a small world: outcomes against the truth, resume after a kill, any concurrency."""

import asyncio
import hashlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace

import polars as pl
import pytest
import yaml
from aiohttp import web
from PIL import Image

from gillnext import cli
from gillnext.config.data import Download, Faults, World
from gillnext.config.model import Config, Sample
from gillnext.download import stage as download_stage
from gillnext.download.journal import Journal, Outcome
from gillnext.download.per_host import Turns
from gillnext.download.table import COLUMNS, Rows, read_table
from gillnext.miniatures.world import stage as world_stage
from gillnext.miniatures.world.server import running
from gillnext.runtime import files
from gillnext.runtime.errors import UserError

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


def download(world, *places):
    """`CONFIG`'s download from the world's server."""
    with running(world) as address:
        download_stage.download(CONFIG, *places, {CONFIG.world.host: address})


@pytest.fixture(scope="module")
def finished(world, table):
    folder = world.parent / "first"
    download(world, table, folder / "images", folder / "index.jsonl")
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
               "--table", str(table), "--images", str(tmp_path / "images"),
               "--out", str(tmp_path / "index.jsonl"), "--host"]  # fmt: skip
    journal = tmp_path / "images.work" / "journal.jsonl"
    with (
        running(world) as address,
        subprocess.Popen([*command, f"{CONFIG.world.host}={address}"], stderr=subprocess.DEVNULL) as process,
    ):
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
        download(world, table, tmp_path / "images", tmp_path / "index.jsonl")
    assert 0 < len(set(asked)) <= 320 - done + 10  # some of them twice: time-outs are asked again at the end
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


def test_the_work_of_another_job_waits_for_it_and_goes_when_the_work_is_done(tmp_path):
    (tmp_path / "w.backup").mkdir()  # not ours, for all its name
    with Journal(tmp_path / "w", "first") as journal:
        journal.keep("0.jpg", b"x")
        journal.add(outcome(0))
    with Journal(tmp_path / "w", "second") as journal:
        assert not journal.done
        journal.add(Outcome(1, "not_found"))
    with Journal(tmp_path / "w", "first") as journal:
        assert list(journal.done) == [0] and (journal.images / "0.jpg").read_bytes() == b"x"
    with Journal(tmp_path / "w", "second") as journal:
        assert list(journal.done) == [1] and not list(journal.images.iterdir())
    assert sorted(os.listdir(tmp_path)) == ["w", "w.backup", "w.first"]
    journal.remove()
    assert os.listdir(tmp_path) == ["w.backup"]


def test_a_journal_holds_up_to_its_first_broken_line_and_goes_on_from_there(tmp_path):
    with Journal(tmp_path / "w", "job") as journal:
        for i in range(5):
            journal.add(Outcome(i, "not_found"))
    lines = journal.path.read_text(encoding="utf-8").splitlines(keepends=True)
    for broken in (lines[3][:20] + "\0\0\0" + lines[3][20:], '{"index": 2}\n', "7\n", lines[3][:-1]):
        journal.path.write_text("".join([*lines[:3], broken, *lines[4:]]), encoding="utf-8")
        with Journal(tmp_path / "w", "job") as journal:
            assert list(journal.done) == [0, 1]
            journal.add(Outcome(9, "not_image"))
        written = [json.loads(line) for line in journal.path.read_text(encoding="utf-8").splitlines()]
        assert [row.get("index") for row in written] == [None, 0, 1, 9]


def test_a_full_disk_is_told_when_the_journal_is_written(tmp_path):
    journal = Journal(tmp_path / "w", "job", batch=1)
    with pytest.raises(UserError, match=r"journal\.jsonl: no space left"), journal:
        full = os.open("/dev/full", os.O_WRONLY)  # the kernel answers every write to it as a full disk does
        os.dup2(full, journal.stream.fileno())
        os.close(full)
        with pytest.raises(UserError) as error:
            assert journal.add(Outcome(0, "not_found"))
            journal.flush()
    assert error.type is UserError  # the write itself, and not only the end of the context


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
        download(world, table, tmp_path / "images", tmp_path / "index.jsonl")


def test_a_table_without_its_columns_is_refused_by_name(tmp_path):
    pl.DataFrame({"url": ["u"], "caption": ["c"]}).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(UserError, match="spatial_type, shard, row"):
        read_table(tmp_path / "t.parquet")
    with pytest.raises(UserError, match="gillnext filter"):
        read_table(tmp_path / "none.parquet")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 nonsense")
    with pytest.raises(UserError, match="not a Parquet table"):
        read_table(tmp_path / "bad.parquet")


@pytest.mark.parametrize(
    ("shards", "rows", "message"),
    [
        ([0, 0, 1], [5, 5, 5], "row 1: no shard and row number of its own"),
        ([0, None, 1], [5, 6, 7], "row 1: no shard and row number of its own"),
        (["0", "one", "2"], [5, 6, 7], "a column of another kind"),
    ],
)
def test_a_row_without_a_name_of_its_own_for_its_image_is_refused(tmp_path, shards, rows, message):
    texts = {name: list("abc") for name in ("url", "caption", "spatial_type")}
    pl.DataFrame(texts | {"shard": shards, "row": rows}).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(UserError, match=message) as error:
        read_table(tmp_path / "t.parquet")
    assert "t.parquet" in str(error.value)


def test_a_kill_while_the_results_are_written_costs_no_image(world, table, finished, tmp_path, monkeypatch):
    """Whatever has been written by then, all that the results are made of is still in the work folder."""
    places, asked, original = (table, tmp_path / "images", tmp_path / "index.jsonl"), [], download_stage.fetch_row

    async def counted(client, journal, index, row):
        asked.append(index)
        return await original(client, journal, index, row)

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(download_stage, "fetch_row", counted)
    late = [i for i, (*_, kind) in enumerate(contents(finished)[1]) if kind == "timeout"]
    for name in ("write_jsonl", "write_json", "link"):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(download_stage.files, name, stop)
            download(world, *places)
        assert asked and (set(asked) == set(late) or name == "write_jsonl")  # what may have come back by then
        asked.clear()
    download(world, *places)
    assert set(asked) == set(late) and contents(tmp_path) == contents(finished)


def test_an_empty_table_gives_an_empty_index(tmp_path, table):
    pl.read_parquet(table).head(0).write_parquet(tmp_path / "t.parquet")
    download_stage.download(CONFIG, tmp_path / "t.parquet", tmp_path / "images", tmp_path / "index.jsonl")
    assert list(files.read_jsonl(tmp_path / "index.jsonl")) == []
    assert files.read_json(tmp_path / "index.json")["rows"] == 0


def test_unfinished_work_of_another_source_is_not_taken_up(world, table):
    names = {download_stage.job_name(table, CONFIG, source) for source in ("", "one", "another")}
    assert len(names) == 3


@pytest.mark.parametrize("host", ["a.example", "=127.0.0.1:80", "a.example=", "a.example=nowhere"])
def test_a_host_without_an_address_is_refused(host, table, tmp_path, capsys):
    command = ["download", "--table", str(table), "--images", str(tmp_path / "i"), "--out", str(tmp_path / "o.jsonl")]
    (tmp_path / "config.yaml").write_text("{}", encoding="utf-8")
    try:
        status = cli.main([*command, "--config", str(tmp_path / "config.yaml"), "--host", host])
    except SystemExit as end:
        status = end.code
    assert status == 2 and ("is not HOST=ADDRESS:PORT" in (err := capsys.readouterr().err) or "no address" in err)


def test_an_unreachable_network_is_an_error_and_not_a_dead_release(tmp_path, table):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    pl.read_parquet(table).head(4).write_parquet(tmp_path / "t.parquet")
    hosts = {CONFIG.world.host: f"127.0.0.1:{port}"}
    with pytest.raises(UserError, match="links could be asked"):
        download_stage.download(CONFIG, tmp_path / "t.parquet", tmp_path / "images", tmp_path / "index.jsonl", hosts)


@pytest.mark.parametrize(
    "kinds",
    [("timeout", "connection", "unknown_host", "timeout"), ("refused",) * 4, ("unknown_host",) * 4,
     ("certificate",) * 4],
)  # fmt: skip
def test_time_outs_or_refusals_alone_are_no_dead_release_either(tmp_path, kinds):
    """A resolver that answers with addresses of its own makes every link one that may not be asked."""
    rows = table_of(["http://a.example/"] * 4)
    with Journal(tmp_path / "w", "job") as journal:
        for i, kind in enumerate(kinds):
            journal.add(Outcome(i, kind))
        with pytest.raises(UserError, match="links could be asked"):
            download_stage.finish(rows, journal, tmp_path / "images", tmp_path / "index.jsonl")
    assert not (tmp_path / "index.jsonl").exists()


def test_a_folder_that_holds_something_else_is_not_replaced(tmp_path):
    """The same table may be fetched into its folder again; another one, or into any other folder, may not."""
    rows, other = (table_of(["http://a.example/"], shard) for shard in (0, 1))
    images = tmp_path / "images"
    download_stage.check_images(images, rows)
    images.mkdir()
    download_stage.check_images(images, rows)  # empty
    (images / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(UserError, match=r"images: holds something else"):
        download_stage.check_images(images, rows)
    status = {"shard": [0], "row": [0], "url": ["http://a.example/"], "kind": ["ok"], "detail": [""]}
    pl.DataFrame(status).write_parquet(images / "status.parquet")
    download_stage.check_images(images, rows)
    with pytest.raises(UserError, match=r"images: holds something else"):
        download_stage.check_images(images, other)
    table = tmp_path / "t.parquet"
    other.table.write_parquet(table)
    with pytest.raises(UserError, match="holds something else"):
        download_stage.download(CONFIG, table, images, tmp_path / "index.jsonl")
    assert (images / "holiday.jpg").exists() and not (tmp_path / "images.work").exists()


def table_of(urls, shard=0):
    """Rows of these URLs."""
    rows = [{"url": url, "caption": "", "spatial_type": "", "shard": shard, "row": i} for i, url in enumerate(urls)]
    return Rows(pl.DataFrame(rows, schema=COLUMNS))


def png(number):
    """A picture of its own for each number."""
    buffer = io.BytesIO()
    Image.new("RGB", (20, 20), (number % 256, number // 256, 90)).save(buffer, "PNG")
    return buffer.getvalue()


def fetched(handler, urls, settings, folder):
    """The outcomes of these URLs, whose hosts all lead to a server with this handler."""
    rows = table_of(urls)
    config = replace(CONFIG, download=settings)

    async def go():
        runner = web.ServerRunner(web.Server(handler, access_log=None, handler_cancellation=True), shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        place = runner.addresses[0][:2]
        try:
            hosts = {host: place for host in ("quick.example", "slow.example")}
            await download_stage.fetch_all(rows, config, hosts, journal)
        finally:
            await runner.cleanup()

    with Journal(folder, "job") as journal:
        asyncio.run(asyncio.wait_for(go(), 60))
    return [journal.done[i] for i in range(len(rows))]


def test_an_error_that_may_pass_is_tried_once_more_at_the_end(tmp_path):
    asked = Counter()
    ups = {"/late": 3, "/never": 99, "/slow": 2, "/good": 1}  # which try succeeds

    async def answer(request):
        asked[request.path] += 1
        if asked[request.path] >= ups[request.path]:
            return web.Response(body=png(len(request.path)), content_type="image/png")
        if request.path == "/slow":
            await asyncio.sleep(30)
        return web.Response(status=503)

    settings = Download(concurrency=4, read_timeout=0.5, total_timeout=2.0, backoff=0.01, retries=1)
    outcomes = fetched(answer, [f"http://quick.example{path}" for path in ups], settings, tmp_path / "w")
    assert [o.kind for o in outcomes] == ["ok", "server_error", "ok", "ok"]
    assert asked == {"/late": 3, "/never": 3, "/slow": 2, "/good": 1}


def test_a_slow_host_neither_starves_another_nor_loses_its_own_rows(tmp_path):
    """Ten rows at a host that answers two at a time, and only when ten others at a quick one have been asked for."""
    asked, quick = [], set()

    async def answer(request):
        asked.append(request.path)
        if request.host == "quick.example":
            quick.add(request.path)
        while request.host == "slow.example" and len(quick) < 10:
            await asyncio.sleep(0.01)
        return web.Response(body=png(int(request.path[1:])), content_type="image/png")

    urls = [f"http://{'slow' if i < 10 else 'quick'}.example/{i}" for i in range(20)]
    settings = Download(concurrency=8, per_host=2, read_timeout=20.0, total_timeout=20.0, retries=0)
    outcomes = fetched(answer, urls, settings, tmp_path / "w")
    assert [(o.index, o.kind) for o in outcomes] == [(i, "ok") for i in range(20)]
    assert Counter(asked) == {f"/{i}": 1 for i in range(20)}
    assert {f"/{i}" for i in range(10, 20)} <= set(asked[:12])  # all the quick ones beside the first two slow ones


def test_every_row_has_one_turn_and_no_host_more_than_its_places():
    hosts = ["a"] * 7 + ["b"] * 2 + ["a"] * 3 + ["", "c", ""]
    for cap, workers in ((1, 4), (2, 4), (3, 2), (0, 4), (2, 1)):
        turns, given, now, most = Turns(enumerate(hosts), cap), [], Counter(), 0
        at_work = [turn for turn in (turns.first() for _ in range(workers)) if turn]
        now.update(host for _, host in at_work)
        given += [index for index, _ in at_work]
        while at_work:
            most = max(most, *now.values())
            _, host = at_work.pop(len(given) % len(at_work))
            now[host] -= 1
            if turn := turns.after(host):
                at_work.append(turn)
                given.append(turn[0])
                now[turn[1]] += 1
        assert sorted(given) == list(range(len(hosts)))
        assert most <= (cap or workers)
        if not cap or cap >= workers:
            assert given == list(range(len(hosts)))


def test_a_surprise_of_the_client_ends_its_row_alone(tmp_path):
    class Surprising:
        async def fetch(self, url):
            raise LookupError("\udcb0 is no text")  # a byte of a header that is no UTF-8, as aiohttp hands it on

    row = {"url": "http://a.example/", "shard": 0, "row": 0}
    with Journal(tmp_path / "w", "job") as journal:
        journal.add(asyncio.run(download_stage.fetch_row(Surprising(), journal, 0, row)))
    assert (journal.done[0].kind, journal.done[0].detail) == ("connection", "LookupError: ? is no text")


def test_unfinished_work_depends_on_the_code_of_its_stage_alone(tmp_path, monkeypatch):
    asked = []

    def code_hash(*modules):
        asked.append(modules)
        return "0"

    monkeypatch.setattr("gillnext.runtime.provenance.code_hash", code_hash)
    (tmp_path / "t.parquet").touch()
    download_stage.job_name(tmp_path / "t.parquet", CONFIG, None)
    assert asked == [("gillnext.download.stage",)]
