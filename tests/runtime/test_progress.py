"""Progress on a terminal and elsewhere: counts, rate and time left; nothing to do is no error."""

import sys

import pytest

from gillnext.runtime import progress
from gillnext.runtime.progress import Progress, track


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_log_gets_a_line_a_minute_with_rate_and_time_left(clock, capsys):
    with Progress("filter", 100, "rows", start=20) as progress:
        for _ in range(4):
            clock[0] += 30
            progress.step(10, kept=3)
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == [
        "filter: 40/100 rows, 0.3333/s, 180 s left, kept 3",
        "filter: 60/100 rows, 0.3333/s, 120 s left, kept 3",
    ]
    assert lines[2:] == ["filter: 60/100 rows, 0.3333/s, 120 s left"]  # at the end


@pytest.mark.parametrize("total", [0, 3])
def test_a_terminal_gets_a_bar_and_no_lines(monkeypatch, capsys, total):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with Progress("filter", total, "rows") as progress:
        assert progress.bar is not None
        closed = progress.bar.close
        monkeypatch.setattr(progress.bar, "close", lambda: (closed(), progress.__setattr__("closed", True)))
        for _ in range(total):
            progress.step()
    assert progress.closed and "time left unknown" not in capsys.readouterr().err


def test_items_are_counted_as_they_pass(capsys):
    assert list(track("abc", "letters", 3)) == list("abc")
    assert capsys.readouterr().err.startswith("letters: 3/3 it")
