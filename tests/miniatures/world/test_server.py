"""The world's server: one answer a fault, the same at every call, and never left behind."""

import asyncio
import dataclasses
import http.client
import io
import socket
import struct
import subprocess
import sys
import time

import numpy as np
import polars as pl
import pytest
from PIL import Image

from gillnext import cli
from gillnext.config.data import Faults, World
from gillnext.config.model import Config, Sample
from gillnext.miniatures.world import scenes, serve, server, stage
from gillnext.runtime.errors import UserError

RATES = Faults(*[0.08] * 8, duplicate=0.05)
CONFIG = Config(world=World(rows=300, shards=2, faults=RATES), sample=Sample(test=2, relations=2))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    out = tmp_path_factory.mktemp("served") / "world"
    stage.make(CONFIG, out)
    return out


@pytest.fixture(scope="module")
def truth(world):
    return pl.concat([pl.read_parquet(world / "truth" / f"{i}.parquet") for i in range(2)])


@pytest.fixture(scope="module")
def address(world):
    with server.running(world) as address:
        yield address


def get(address, path, timeout=5.0):
    connection = http.client.HTTPConnection(address, timeout=timeout)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


def paths(truth, fault, count=4):
    found = truth.filter(pl.col("fault") == fault).head(count)
    return [url.split(".example", 1)[1] for url in found["url"]]


def test_a_sound_link_gives_the_rows_own_scene(address, truth):
    for row in truth.filter(pl.col("fault") == "").head(5).iter_rows(named=True):
        status, headers, body = get(address, row["url"].split(".example", 1)[1])
        drawn = scenes.render(scenes.sample(CONFIG.run.seed, "world", row["scene"]))
        assert status == 200 and headers["Content-Type"] == "image/jpeg"
        assert np.abs(np.asarray(Image.open(io.BytesIO(body))).astype(int) - drawn).mean() < 6


def test_dead_links_and_pages_and_pixels(address, truth):
    assert {get(address, p)[0] for p in paths(truth, "not_found")} <= {404, 410}
    for p in paths(truth, "html"):
        assert b"<html" in get(address, p)[2]
    for p in paths(truth, "tiny"):
        assert Image.open(io.BytesIO(get(address, p)[2])).size == (1, 1)
    assert get(address, "/no/such/picture.jpg")[0] == 404


def test_503_comes_once(address, truth):
    for p in paths(truth, "server_error"):
        assert [get(address, p)[0] for _ in range(3)] == [503, 200, 200]


def test_a_redirect_names_a_place_that_has_the_picture(address, truth):
    for p in paths(truth, "redirect"):
        status, headers, _ = get(address, p)
        assert status in (301, 302)
        target = headers["Location"].removeprefix(f"http://{CONFIG.world.host}")
        assert get(address, target)[2].startswith(b"\xff\xd8\xff")


def test_a_truncated_picture_does_not_decode(address, truth):
    for p in paths(truth, "truncated", 6):
        try:
            body = get(address, p)[2]
        except http.client.IncompleteRead as error:
            body = error.partial
        assert body.startswith(b"\xff\xd8\xff")
        with pytest.raises(OSError):
            Image.open(io.BytesIO(body)).load()


def test_a_slow_body_comes_and_a_stalled_one_does_not(address, truth):
    began = time.monotonic()
    assert get(address, paths(truth, "slow")[0])[0] == 200
    assert time.monotonic() - began > 0.5
    with pytest.raises(TimeoutError):
        get(address, paths(truth, "stall")[0], timeout=0.5)


def leave(address, path, received):
    """Ask for `path` and break the connection, after as many bytes as `received`."""
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        if received:
            connection.recv(received)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # reset, not closed


@pytest.mark.parametrize("received", [0, 100])
def test_a_client_that_leaves_early_is_no_fault(received, world, truth, capfd):
    """Neither before the picture is drawn nor in the middle of its body; the server serves the next one."""
    with server.running(world) as address:
        for fault in ("", "slow", "stall", "truncated"):
            for p in paths(truth, fault, 3):
                leave(address, p, received)
        assert get(address, paths(truth, "slow")[0])[0] == 200
    assert capfd.readouterr().err == ""


def test_a_fault_of_the_server_is_still_logged(world, truth, caplog):
    class Broken(server.Site):
        def picture(self, scene):
            raise ValueError("no such scene")

    async def ask():
        until, told = asyncio.Event(), asyncio.get_running_loop().create_future()
        served = asyncio.create_task(server.serve(Broken(world), 0, told.set_result, until))
        status = (await asyncio.to_thread(get, await told, paths(truth, "slow")[0]))[0]
        until.set()
        await served
        return status

    assert asyncio.run(ask()) == 500
    assert "no such scene" in caplog.text


def test_the_server_stops_with_its_context(world):
    with server.running(world) as address:
        assert get(address, "/nothing")[0] == 404
    with pytest.raises(OSError):
        get(address, "/nothing", timeout=1)


def test_the_server_ends_when_its_parent_is_killed(world):
    code = "from gillnext.miniatures.world.server import running\n"
    code += f"with running({str(world)!r}) as a: print(a, flush=True); input()"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        address = parent.stdout.readline().strip()
        assert get(address, "/nothing")[0] == 404
        parent.kill()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            get(address, "/nothing", timeout=1)
        except OSError:
            return
        time.sleep(0.1)
    pytest.fail("the server outlived its parent")


def test_a_folder_without_a_world_is_refused(tmp_path):
    with pytest.raises(UserError, match="gillnext world"):
        server.manifest(tmp_path)


def test_a_command_is_given_the_host_with_its_address_while_it_is_served(world, tmp_path, capfd):
    """The command here is a program that asks for the first picture and tells how it was called."""
    program = "import sys, http.client as h; a = sys.argv[-3].split('='); c = h.HTTPConnection(a[1]); "
    program += "c.request('GET', '/nothing'); print(a[0], c.getresponse().status, *sys.argv[-4::2]); sys.exit(7)"
    command = ["serve", "--world", str(world), "--", sys.executable, "-c", program, "--table", "x"]
    with pytest.raises(SystemExit) as end:
        cli.main(command)
    assert end.value.code == 7  # the command's own
    assert capfd.readouterr().out.split() == [CONFIG.world.host, "404", "--host", "--source"]
    assert serve.source_of(world) != serve.source_of(_of_another_seed(tmp_path))


def _of_another_seed(folder):
    stage.make(dataclasses.replace(CONFIG, run=dataclasses.replace(CONFIG.run, seed=CONFIG.run.seed + 1)), folder / "w")
    return folder / "w"
