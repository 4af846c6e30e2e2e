"""The end of the command, and what Python's collector is spared."""

import gc
import subprocess
import sys
import textwrap

import pytest

from gillnext.runtime import collector


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)


def test_exit_functions_run_and_outputs_are_flushed():
    ended = run("""
        import atexit, sys
        from gillnext.runtime import ending
        atexit.register(print, "later", end="")
        print("out ", end="")
        print("err", end="", file=sys.stderr)
        ending.leave(3)
    """)
    assert (ended.returncode, ended.stdout, ended.stderr) == (3, "out later", "err")


def test_nothing_is_taken_apart():
    code = """
        from gillnext.runtime import ending

        class Costly:
            def __del__(self):
                print("taken apart")

        kept = Costly()
    """
    assert run(code).stdout == "taken apart\n"
    assert run(code + "\n        ending.leave(0)").stdout == ""


def test_a_thread_that_still_writes_is_waited_for():
    ended = run("""
        import threading, time
        from gillnext.runtime import ending
        threading.Thread(target=lambda: (time.sleep(0.3), print("written"))).start()
        ending.leave(4)
    """)
    assert (ended.returncode, ended.stdout) == (4, "written\n")


@pytest.fixture
def thawed():
    yield
    gc.unfreeze()
    gc.enable()


def test_what_an_import_makes_is_not_looked_at_again(thawed):
    gc.unfreeze()
    with collector.spared():
        assert not gc.isenabled()
    assert gc.isenabled() and gc.get_freeze_count()


def test_the_collector_comes_back_after_an_error(thawed):
    with pytest.raises(ImportError), collector.spared():
        raise ImportError
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off(thawed):
    gc.disable()
    with collector.spared():
        pass
    assert not gc.isenabled()


def test_bindings_report_no_leaks_where_the_process_is_taken_apart():
    pytest.importorskip("triton")
    ended = run("""
        from gillnext.runtime import collector
        with collector.spared():
            import triton
    """)
    assert (ended.returncode, ended.stderr) == (0, "")
