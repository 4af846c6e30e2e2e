"""The journal of a stage: what it remembers after a kill, a damaged line, or a change of job."""

import json
import os

import pytest

from gillnext.runtime.errors import UserError
from gillnext.runtime.journal import Journal, entries, job_of


def write(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def line(key):
    return json.dumps({"key": key, "answer": "树"}, ensure_ascii=False)


@pytest.mark.parametrize("broken", [line("c")[:-4], line("c")[:9] + line("d"), "\0\0\0", "", "7", '{"key": "c"}'])
def test_what_stands_before_a_broken_line_is_kept_and_the_rest_is_asked_again(tmp_path, broken):
    path = tmp_path / "w/journal.jsonl"
    write(path, '{"job": "j"}', line("a"), line("b"), broken, line("e"))
    with Journal(tmp_path / "w", "j") as journal:
        assert journal.done == {"a": "树", "b": "树"}
        journal.add({"f": 1})
    assert [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines()] == [
        {"job": "j"}, {"key": "a", "answer": "树"}, {"key": "b", "answer": "树"}, {"key": "f", "answer": 1}
    ]  # fmt: skip


def test_a_half_written_last_line_is_dropped(tmp_path):
    with Journal(tmp_path / "w", "j") as journal:
        journal.add({"a": 1})
    with open(journal.path, "a", encoding="utf-8") as stream:
        stream.write('{"key": "b", "answer": 2}')  # whole but for its end
    with Journal(tmp_path / "w", "j") as journal:
        assert journal.done == {"a": 1}


def test_the_journal_of_another_job_or_of_none_is_not_believed(tmp_path):
    path = tmp_path / "journal.jsonl"
    assert (job_of(path), entries(path, "j", int)) == ("", [])
    for first, job in (('{"job": "other"}', "other"), ("[]", ""), ("{", ""), ("{}", ""), ("", "")):
        write(path, first, "1")
        assert (job_of(path), entries(path, "j", int)) == (job, [])
    write(path, '{"job": "j"}', "1", "2")
    assert entries(path, "j", int) == [1, 2]


def test_a_full_disk_is_told_to_the_end(tmp_path):
    """What could not be written is tried again when the stream is closed, and fails again."""
    journal = Journal(tmp_path / "w", "job")
    with pytest.raises(UserError, match=r"journal\.jsonl: no space left"), journal:
        full = os.open("/dev/full", os.O_WRONLY)  # the kernel answers every write to it as a full disk does
        os.dup2(full, journal.stream.fileno())
        os.close(full)
        journal.add({"a": 1})


def test_work_that_is_thrown_away_is_told(tmp_path, capsys):
    for job in ("one", "one", "two"):
        with Journal(tmp_path / "w", job) as journal:
            journal.add({"a": 1})
        assert ("begun anew" in capsys.readouterr().err) == (job == "two")
