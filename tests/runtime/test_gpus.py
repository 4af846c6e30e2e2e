"""GPUs of a job's own, without a GPU: real processes contend for the locks of made-up UUIDs."""

import itertools
import json
import os
import signal
import subprocess
import sys
import textwrap
import uuid
from pathlib import Path

import pytest

from gillnext.config.load import from_dict
from gillnext.runtime import gpus
from gillnext.runtime.errors import UserError

LIMIT = 60.0  # seconds; a test that waits longer has failed


@pytest.fixture()
def machine(tmp_path, monkeypatch):
    """Makes a machine of so many GPUs, whose locks are this test's own; returns their UUIDs."""
    for name in (gpus.VISIBLE, gpus.TAKEN, "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(gpus, "FOLDER", tmp_path / "locks")
    monkeypatch.setattr(gpus, "_held", [])

    def make(count):
        found = [f"GPU-{uuid.uuid4()}" for _ in range(count)]
        path = tmp_path / "bin" / "nvidia-smi"
        path.parent.mkdir(exist_ok=True)
        lines = "\n".join(found)
        path.write_text(f'#!/bin/sh\n[ "$*" = "{" ".join(gpus.ASK[1:])}" ] || exit 2\ncat <<END\n{lines}\nEND\n')
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{path.parent}{os.pathsep}{os.environ['PATH']}")
        return found

    yield make
    for stream in gpus._held:
        stream.close()


def start(code, *arguments, **environment):
    """A process of its own that shares the locks; `code` has `gpus`, and waits as little as a test can."""
    code = textwrap.dedent(
        f"""
        import json, os, sys, time
        from pathlib import Path
        from gillnext.runtime import gpus
        gpus.FOLDER, gpus.POLL, gpus.PATIENCE = Path({str(gpus.FOLDER)!r}), 0.02, 0.1
        """
    ) + textwrap.dedent(code)
    words = [sys.executable, "-c", code, *map(str, arguments)]
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.PIPE, "text": True}
    return subprocess.Popen(words, env=os.environ | environment, **piped)


def line(process):
    """The next line that a process prints; it lives on."""
    found = process.stdout.readline()
    assert found, process.communicate(timeout=LIMIT)[1]
    return found.strip()


HOLD = """
gpus.take(int(sys.argv[1]), gpus.visible(), "test")
print(os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
sys.stdin.read()
"""
WORK = """
gpus.take(int(sys.argv[1]), gpus.visible(), "test")
begun = time.monotonic()
time.sleep(0.1)
print(json.dumps([os.environ["CUDA_VISIBLE_DEVICES"].split(","), begun, time.monotonic()]))
"""


def test_jobs_of_one_and_of_two_gpus_never_share_one_and_all_come_to_an_end(machine):
    """Eight jobs of one and two of two on four GPUs. The clock is the machine's own: the same in all processes."""
    machine(4)
    jobs = [start(WORK, count) for count in (1, 1, 2, 1, 1, 1, 2, 1, 1, 1)]
    spans = [json.loads(job.communicate(timeout=LIMIT)[0]) for job in jobs]
    assert sorted(len(names) for names, _, _ in spans) == [1] * 8 + [2] * 2
    for index in "0123":
        held = sorted((begun, ended) for names, begun, ended in spans if index in names)
        assert held and all(ended <= begun for (_, ended), (begun, _) in itertools.pairwise(held))


def test_jobs_that_need_all_but_one_do_not_wait_for_each_other_for_ever(machine):
    machine(4)
    jobs = [start(WORK, 3) for _ in range(4)]
    assert all(len(json.loads(job.communicate(timeout=LIMIT)[0])[0]) == 3 for job in jobs)


def test_a_killed_job_frees_its_gpus_and_a_job_that_waits_says_for_whom(machine):
    (only,) = machine(1)
    first = start(HOLD, 1)
    assert line(first) == "0"
    second = start(HOLD, 1)
    told = second.stderr.readline()
    assert told.startswith("waiting for 1 of 1 GPUs") and f"{only}: process {first.pid}," in told
    third = start(HOLD, 1)
    assert f"turn: process {second.pid}," in third.stderr.readline()
    third.kill()
    first.send_signal(signal.SIGKILL)
    assert line(second) == "0"
    for process in (first, second, third):
        process.communicate(timeout=LIMIT)


def test_what_the_launcher_takes_is_its_processes_until_the_last_has_ended(machine):
    """As accelerate's: each gets what the launcher has, none takes a GPU more, and one that outlives it keeps them."""
    machine(2)
    rank = textwrap.dedent(
        f"""
        import os, sys
        from pathlib import Path
        from gillnext.config.load import from_dict
        from gillnext.runtime import gpus
        gpus.FOLDER = Path({str(gpus.FOLDER)!r})
        gpus.begin("adapter", from_dict({{"run": {{"device": "cuda"}}}}))
        os.write(1, os.environ["CUDA_VISIBLE_DEVICES"].encode() + b"\\n")  # whole, though two ranks write to one pipe
        sys.stdin.read()
        """
    )
    launcher = """
    import subprocess
    gpus.main(["2", sys.executable, "-c", '''
    import os, subprocess, sys, time
    ranks = [subprocess.Popen([sys.executable, "-c", sys.argv[1]], env=os.environ | {"LOCAL_RANK": r}) for r in "01"]
    print(*[rank.pid for rank in ranks], flush=True)
    time.sleep(600)
    '''.replace("\\n    ", "\\n"), sys.argv[1]])
    """
    process = start(launcher, rank)
    ranks = [int(pid) for pid in line(process).split()]
    assert [line(process), line(process)] == ["0,1", "0,1"]
    process.kill()  # the launcher alone
    waiting = start(HOLD, 2)
    assert "waiting" in waiting.stderr.readline()
    for pid in ranks:
        os.kill(pid, signal.SIGKILL)
    assert line(waiting) == "0,1"
    for ended in (process, waiting):
        ended.communicate(timeout=LIMIT)


def settings(device="cuda", **ray):
    return from_dict({"run": {"device": device}, "ray": ray})


@pytest.mark.parametrize(
    ("stage", "config", "seen"),
    [
        ("sample", settings(), "4"),
        ("annotate", settings(actors=2), "4,1"),
        ("annotate", settings(), "4"),
        ("sample", settings(actors=2), "4"),
        ("sample", settings("cuda:1"), "4,1,6"),
        ("annotate", settings(actors=8, address="first:6379"), "4,1,6"),
        ("sample", settings("cpu"), "4,1,6"),
        ("tables", settings(), "4,1,6"),
    ],
    ids=["one", "an actor each", "no actors", "of another stage", "by index", "a cluster's", "CPU", "computes nothing"],
)
def test_a_stage_sees_what_it_takes_of_what_it_was_given(machine, monkeypatch, stage, config, seen):
    """The choice of a person or a scheduler: GPUs 4, 1 and 6 of eight, and what comes after an index too high is not
    read, as CUDA does not.
    """
    machine(8)
    monkeypatch.setenv(gpus.VISIBLE, "4, 1,6,9,2")
    gpus.begin(stage, config)
    kept = os.environ[gpus.VISIBLE]
    assert kept.replace(" ", "").removesuffix(",9,2") == seen


def test_an_index_locks_that_gpu_and_hides_none(machine):
    here = machine(3)
    gpus.begin("sample", settings("cuda:1"))
    assert gpus.VISIBLE not in os.environ and os.environ[gpus.TAKEN] == here[1]
    others = [start(HOLD, 1) for _ in range(2)]
    assert sorted(line(other) for other in others) == ["0", "2"]
    for other in others:
        other.communicate(timeout=LIMIT)


@pytest.mark.parametrize("name", ["full", "short", "index"])
def test_a_gpu_is_the_same_by_whatever_name(machine, monkeypatch, name):
    here = machine(2)
    monkeypatch.setenv(gpus.VISIBLE, {"full": here[1], "short": here[1][:12], "index": "1"}[name])
    assert list(gpus.visible().values()) == here[1:]


def test_more_than_there_are_is_refused_with_the_setting_that_asks(machine):
    machine(2)
    with pytest.raises(UserError, match=r"(?s)ray\.actors: 4 GPUs for a job, and 2 .*remedy"):
        gpus.begin("filter", settings(actors=4))


def test_a_gpu_that_is_named_twice_is_one(machine, monkeypatch):
    here = machine(2)
    monkeypatch.setenv(gpus.VISIBLE, f"0,{here[0]}")
    with pytest.raises(UserError, match="2 GPUs for a job, and 1"):
        gpus.begin("filter", settings(actors=2))


@pytest.mark.parametrize("given", [None, "", "-1", "NoDevFiles"])
def test_where_no_gpu_answers_the_stage_is_left_to_tell(machine, monkeypatch, tmp_path, given):
    """Nothing is waited for; a name that only the driver knows is the driver's to judge."""
    monkeypatch.setenv("PATH", str(tmp_path))
    if given is not None:
        monkeypatch.setenv(gpus.VISIBLE, given)
    gpus.begin("sample", settings())
    assert os.environ.get(gpus.VISIBLE) == given


def test_another_users_folder_of_locks_is_refused(machine, monkeypatch):
    machine(1)
    monkeypatch.setattr(gpus, "FOLDER", Path("/"))
    monkeypatch.setattr(os, "getuid", lambda: 4242)
    with pytest.raises(UserError, match="another user"):
        gpus.begin("sample", settings())


def test_the_command_line_takes_them_before_torch_is_loaded(machine, tmp_path):
    machine(2)
    (tmp_path / "gpu.yaml").write_text("run: {device: cuda}\n")
    code = """
    from gillnext import cli
    cli.begin("sample", ["--config", sys.argv[1], "--out", "x"])
    print(os.environ["CUDA_VISIBLE_DEVICES"], "torch" in sys.modules, flush=True)
    sys.stdin.read()
    """
    both = [start(code, tmp_path / "gpu.yaml") for _ in range(2)]
    assert sorted(line(process) for process in both) == ["0 False", "1 False"]
    for process in both:
        process.communicate(timeout=LIMIT)


def test_a_job_that_waits_ends_with_its_workflow(machine):
    machine(1)
    first = start(HOLD, 1)
    line(first)
    workflow = subprocess.Popen(["sleep", "600"])
    waiting = start('gpus.main(["1", "true"])', GILLNEXT_PARENT=str(workflow.pid))
    assert "waiting" in waiting.stderr.readline()
    workflow.kill()
    workflow.wait()
    assert waiting.wait(LIMIT) == 137
    first.communicate(timeout=LIMIT)
