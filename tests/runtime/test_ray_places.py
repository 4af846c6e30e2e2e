"""Ray starts from an environment in a folder of any name, and beside a folder for temporary files of any length."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from ray._private.utils import validate_socket_filepath

from gillnext.config.load import from_dict
from gillnext.runtime import cluster
from gillnext.runtime.errors import UserError

SQUARES = """
import json
from gillnext.config.load import from_dict
from gillnext.runtime.workers import Workers

def squares():
    return lambda batch: [n * n for n in batch]

with Workers(squares, from_dict({"ray": {"actors": 1, "start_timeout": 60}})) as workers:
    print(json.dumps(list(workers.map([[2, 3]]))))
"""


def test_actors_start_from_an_environment_in_a_folder_of_any_name_and_with_a_long_tmpdir(tmp_path):
    environment = tmp_path / """it's "an" $HOME; 环境"""
    environment.symlink_to(sys.prefix)
    long = tmp_path / ("x" * 90)
    long.mkdir()
    packages = os.pathsep.join([str(Path(cluster.__file__).parents[2]), *filter(None, sys.path)])
    run = subprocess.run(
        [environment / "bin" / Path(sys.executable).name, "-c", SQUARES],
        capture_output=True, text=True, env=os.environ | {"PYTHONPATH": packages, "TMPDIR": str(long)}, timeout=120,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout.splitlines()[-1]) == [[[2, 3], [4, 9]]]


@pytest.mark.parametrize("name", ["RAY_TMPDIR", "TMPDIR"])
@pytest.mark.parametrize(
    "folder", [f"/{'x' * n}" for n in (4, *range(32, 46), 89)] + ["/" + "左" * 11, "/" + "左" * 14]
)
def test_another_folder_is_used_where_paths_of_sockets_would_be_too_long_for_ray(monkeypatch, name, folder):
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv(name, folder)
    socket = f"session_2026-01-31_23-59-59_123456_{os.getpid()}/sockets/plasma_store"
    validate_socket_filepath(f"{cluster.short_folder() or folder + '/ray'}/{socket}")
    if cluster.short_folder():
        with pytest.raises(OSError, match="AF_UNIX"):
            validate_socket_filepath(f"{folder}/ray/{socket}")


def test_a_folder_that_ray_cannot_have_is_told_with_a_remedy(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(cluster, "short_folder", lambda: str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"ray\.actors: Ray does not start") as caught:
        cluster.connect(from_dict({"ray": {"actors": 1}}))
    assert "RAY_TMPDIR" in caught.value.remedy


def test_the_nodes_of_a_cluster_have_interpreters_of_their_own(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/a b/bin/python")
    assert shlex.split(cluster.runtime_env(started_here=True)["py_executable"]) == ["/a b/bin/python"]
    assert "py_executable" not in cluster.runtime_env(started_here=False)
