"""Files appear whole or not at all: on success, on a full disk, and when the process is killed meanwhile."""

import errno
import json
import resource
import shutil
import subprocess
import sys
import textwrap

import pytest

from gillnext.runtime import files
from gillnext.runtime.errors import UserError


def test_a_file_appears_under_its_name_only_at_the_end(tmp_path):
    with files.atomic(tmp_path / "a" / "out.txt") as temporary:
        temporary.write_text("whole")
        assert not (tmp_path / "a" / "out.txt").exists()
    assert (tmp_path / "a" / "out.txt").read_text() == "whole"
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["out.txt"]


def test_a_folder_replaces_the_old_one(tmp_path):
    for name in ("first", "second"):
        with files.atomic(tmp_path / "model") as temporary:
            temporary.mkdir()
            (temporary / name).write_text(name)
    assert [p.name for p in (tmp_path / "model").iterdir()] == ["second"]


def test_the_old_folder_is_deleted_once_the_new_one_is_in_its_place(tmp_path, monkeypatch):
    there, rmtree = [], shutil.rmtree

    def watched(path, **options):
        there.append([p.name for p in (tmp_path / "model").iterdir()])
        rmtree(path, **options)

    for name in ("first", "second"):
        with files.atomic(tmp_path / "model") as temporary:
            temporary.mkdir()
            (temporary / name).write_text(name)
            monkeypatch.setattr(files.shutil, "rmtree", watched)
    assert there == [["first"], ["second"]]
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_a_folder_that_was_not_made_leaves_the_old_one(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "first").write_text("first")
    with pytest.raises(FileNotFoundError), files.atomic(tmp_path / "model"):
        pass
    assert (tmp_path / "model" / "first").read_text() == "first"
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_an_error_keeps_the_old_file_and_leaves_no_temporary(tmp_path):
    files.write_text(tmp_path / "out.txt", "old")
    with pytest.raises(RuntimeError), files.atomic(tmp_path / "out.txt") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert (tmp_path / "out.txt").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["out.txt"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_with_the_file_and_the_remedy(tmp_path, number):
    files.write_text(tmp_path / "out.txt", "old")
    refused = pytest.raises(UserError, match=r"out\.txt: no space left")
    with refused as caught, files.atomic(tmp_path / "out.txt"):
        raise OSError(number, "No space left on device")
    assert "free some disk" in caught.value.remedy
    assert (tmp_path / "out.txt").read_text() == "old"


def test_other_errors_of_the_system_pass_through(tmp_path):
    with pytest.raises(OSError, match="Input/output"), files.atomic(tmp_path / "out.txt"):
        raise OSError(errno.EIO, "Input/output error")


def test_a_write_that_the_system_refuses_keeps_the_old_file(tmp_path):
    """A real refusal by the kernel, not a raised one: files of this process may not pass 4 kB."""
    files.write_text(tmp_path / "out.txt", "old")
    script = f"""
        import signal, resource
        from gillnext.runtime import files
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, {resource.RLIM_INFINITY}))
        files.write_text({str(tmp_path / "out.txt")!r}, "x" * 100_000)
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True)
    assert run.returncode != 0 and "File too large" in run.stderr
    assert (tmp_path / "out.txt").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["out.txt"]


def test_sigkill_while_writing_leaves_the_old_file_whole(tmp_path):
    files.write_text(tmp_path / "out.txt", "old")
    script = f"""
        import os, signal
        from gillnext.runtime import files
        with files.atomic({str(tmp_path / "out.txt")!r}) as temporary:
            temporary.write_text("half of the new")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(script)])
    assert run.returncode == -9
    assert (tmp_path / "out.txt").read_text() == "old"
    files.write_text(tmp_path / "out.txt", "new")
    assert (tmp_path / "out.txt").read_text() == "new"


def test_what_a_killed_process_has_left_goes_with_the_next_write_and_a_living_ones_stays(tmp_path):
    script = f"""
        import os, signal, sys
        from gillnext.runtime import files
        with files.atomic({str(tmp_path / "images")!r}) as temporary:
            temporary.mkdir()
            (temporary / sys.argv[1]).write_text("half of the new")
            os.kill(os.getpid(), signal.SIGKILL) if sys.argv[1] == "killed" else print("there", flush=True)
            sys.stdin.read()
    """

    def unfinished():
        return sorted(found.name for found in tmp_path.rglob("*") if found.is_file())

    command = [sys.executable, "-c", textwrap.dedent(script)]
    assert subprocess.run([*command, "killed"]).returncode == -9
    assert unfinished() == ["killed"]
    with subprocess.Popen([*command, "living"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"there\n"
        files.write_text(tmp_path / "images.txt", "of another name")
        with files.atomic(tmp_path / "images") as temporary:
            temporary.mkdir()
            assert unfinished() == ["images.txt", "living"]
        process.stdin.close()
        assert process.wait() == 0
    assert unfinished() == ["images.txt", "living"] and (tmp_path / "images" / "living").exists()
    assert sorted(found.name for found in tmp_path.iterdir()) == ["images", "images.txt"]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EBADF, errno.ENOTSUP])
def test_a_file_system_without_locks_is_written_to_all_the_same(tmp_path, monkeypatch, number):
    def flock(*_):
        raise OSError(number, "no locks")

    monkeypatch.setattr(files.fcntl, "flock", flock)
    with files.atomic(tmp_path / "out.txt") as first, files.atomic(tmp_path / "out.txt") as second:
        first.write_text("first")
        second.write_text("second")
    assert (tmp_path / "out.txt").read_text() == "first"  # the last to end
    assert [p.name for p in tmp_path.iterdir()] == ["out.txt"]


def test_the_same_value_gives_the_same_bytes_and_readable_chinese(tmp_path):
    files.write_json(tmp_path / "a.json", {"树": 1, "b": [0.1]})
    files.write_json(tmp_path / "b.json", {"b": [0.1], "树": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert "树" in (tmp_path / "a.json").read_text(encoding="utf-8")


def test_a_number_that_json_lacks_is_refused(tmp_path):
    with pytest.raises(ValueError):
        files.write_json(tmp_path / "a.json", {"loss": float("nan")})
    with pytest.raises(ValueError):
        files.write_jsonl(tmp_path / "a.json", [{"loss": float("inf")}])
    assert not (tmp_path / "a.json").exists()


def test_a_broken_line_is_told_with_file_and_number(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"a": 1}\n\n{"a": \n', encoding="utf-8")
    with pytest.raises(UserError, match=r"rows\.jsonl, line 3"):
        list(files.read_jsonl(tmp_path / "rows.jsonl"))
    (tmp_path / "rows.jsonl").write_bytes('{"a": "猫"}\n\n'.encode() + '{"a": "左边"}\n'.encode("gbk"))
    with pytest.raises(UserError, match=r"not UTF-8") as caught:
        list(files.read_jsonl(tmp_path / "rows.jsonl"))
    assert "rows.jsonl, line 3" in str(caught.value)
    (tmp_path / "a.json").write_text('{\n"a": }', encoding="utf-8")
    with pytest.raises(UserError, match=r"a\.json, line 2"):
        files.read_json(tmp_path / "a.json")


WRONG_JSON = [
    (b"", "Expecting value"),
    (b'{"a": 1,}', "property name"),
    (b'["a", "b",]', "Expecting value"),
    (b"{'a': 1}", "property name"),
    ("{“a”: 1}".encode(), "property name"),
    (b'{"a": 1, "b": 2, "a": 3}', "'a' comes twice"),
    (b'{"x": {"b": 2, "b": 2}}', "'b' comes twice"),
    (b'{"a": NaN}', "NaN is no number"),
    (b'{"a": [-Infinity]}', "-Infinity is no number"),
    (b'{"a": ' + b"9" * 5000 + b"}", "not JSON"),
    (b"[" * 100_000, "not JSON"),
    (b'{"a": "\xff"}', "0xff is not UTF-8"),
    ('{"a": "左边"}'.encode("gbk"), "is not UTF-8"),
    ('{"a": "左边"}'.encode("utf-16"), "0xff is not UTF-8"),
    ('{"a": "左边"}'.encode("utf-16-be"), "not"),
]


@pytest.mark.parametrize(("data", "message"), WRONG_JSON)
def test_what_is_no_json_is_told_with_file_line_and_remedy(tmp_path, data, message):
    (tmp_path / "a.json").write_bytes(b"\n" + data)
    with pytest.raises(UserError, match=r"a\.json, line \d") as caught:
        files.read_json(tmp_path / "a.json")
    assert message in caught.value.what and caught.value.remedy
    if data:
        (tmp_path / "a.jsonl").write_bytes(b"{}\n\n" + data)
        with pytest.raises(UserError, match=r"a\.jsonl, line 3") as caught:
            list(files.read_jsonl(tmp_path / "a.jsonl"))
        assert message in caught.value.what and caught.value.remedy


def test_a_byte_order_mark_is_no_text(tmp_path):
    (tmp_path / "a.json").write_bytes('\ufeff{"a": "猫"}\r\n'.encode())
    assert files.read_json(tmp_path / "a.json") == {"a": "猫"}
    assert list(files.read_jsonl(tmp_path / "a.json")) == [{"a": "猫"}]


@pytest.mark.parametrize(("name", "message"), [("none.json", "no such file"), (".", "Is a directory")])
def test_a_file_that_cannot_be_read_is_told(tmp_path, name, message):
    for read in (files.read_json, files.read_text, lambda path: list(files.read_jsonl(path))):
        with pytest.raises(UserError, match=message) as caught:
            read(tmp_path / name)
        assert str(tmp_path) in caught.value.where and caught.value.remedy


def test_rows_come_back_as_written(tmp_path):
    rows = [{"caption": "左边是一棵树"}, {"caption": '引号"和\n换行'}]
    files.write_jsonl(tmp_path / "rows.jsonl", rows)
    assert list(files.read_jsonl(tmp_path / "rows.jsonl")) == rows
    assert len((tmp_path / "rows.jsonl").read_text(encoding="utf-8").splitlines()) == len(rows)


def test_a_folder_hash_follows_names_and_contents(tmp_path):
    files.write_json(tmp_path / "m" / "config.json", {"a": 1})
    first = files.sha256(tmp_path / "m")
    (tmp_path / "m" / "config.json").write_text(json.dumps({"a": 2}))
    second = files.sha256(tmp_path / "m")
    (tmp_path / "m" / "config.json").rename(tmp_path / "m" / "other.json")
    assert len({first, second, files.sha256(tmp_path / "m")}) == 3
