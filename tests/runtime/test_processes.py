"""One run at a time, nothing to unlock after a kill, and no stage outlives the workflow that started it."""

import errno
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from gillnext.runtime import lock
from gillnext.runtime.errors import UserError


def start(script, **environment):
    """A Python process that has printed its first line, with that line."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdout=subprocess.PIPE, text=True, env=os.environ | environment,
    )  # fmt: skip
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


HOLD = """
    import sys, time
    from gillnext.runtime import lock
    lock.hold({path!r})
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_run_is_refused_and_a_killed_one_leaves_nothing_to_unlock(tmp_path):
    path = tmp_path / "demo" / ".lock"
    holder, line = start(HOLD.format(path=str(path)))
    assert line == "held"
    try:
        with pytest.raises(UserError, match=f"process {holder.pid}"):
            lock.hold(path)
    finally:
        holder.kill()
        holder.wait()
    lock.hold(path)
    lock.hold(path)  # holding it twice in one process is no conflict


def test_a_lock_that_is_held_for_a_while_refuses_others_and_is_gone_afterwards(tmp_path):
    path = tmp_path / "work.lock"
    with lock.held(path):
        with pytest.raises(UserError, match=f"process {os.getpid()}"), lock.held(path):
            pytest.fail("taken twice")
        assert path.exists()
    assert not path.exists()
    with lock.held(path):
        pass


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP])
@pytest.mark.parametrize("take", [lock.hold, lambda path: lock.held(path).__enter__()])
def test_a_file_system_without_locks_is_told_with_the_folder_and_a_remedy(tmp_path, monkeypatch, number, take):
    def flock(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(lock.fcntl, "flock", flock)
    with pytest.raises(UserError, match="has no locks") as caught:
        take(tmp_path / "work.lock")
    assert caught.value.where == str(tmp_path) and "local disk" in caught.value.remedy


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rsplit(")", 1)[1].split()[0] != "Z"


def ends_within(pid, seconds):
    until = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < until:
        time.sleep(0.02)
    return not alive(pid)


STAGE = """
    import time
    from gillnext.runtime.orphans import follow_parent
    follow_parent()
    print("working", flush=True)
    time.sleep(60)
"""


def test_a_stage_ends_when_the_workflow_is_killed():
    workflow, _ = start("import time; print('up', flush=True); time.sleep(60)")
    stage, line = start(STAGE, GILLNEXT_PARENT=str(workflow.pid))
    try:
        assert line == "working" and alive(stage.pid)
        workflow.send_signal(signal.SIGKILL)
        workflow.wait()
        assert ends_within(stage.pid, 10)
        assert stage.wait() == 137
    finally:
        stage.kill()
        workflow.kill()


def test_a_stage_does_not_start_when_the_workflow_is_gone():
    workflow = subprocess.Popen([sys.executable, "-c", ""])
    workflow.wait()
    stage, line = start(STAGE, GILLNEXT_PARENT=str(workflow.pid))
    assert line == "" and stage.wait(10) == 137


def test_a_stage_by_hand_follows_nobody():
    stage, line = start(STAGE.replace("time.sleep(60)", "time.sleep(0.2)"), GILLNEXT_PARENT="")
    assert line == "working" and stage.wait(10) == 0
