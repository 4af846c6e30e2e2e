"""A large folder's hash is read once, by one of many processes, and again where any file has changed."""

import hashlib
import json
import os
import subprocess
import sys
import time

import pytest

from gillnext.adapter import encode
from gillnext.runtime import contents, files


@pytest.fixture()
def folder(tmp_path, monkeypatch):
    """A base of three files, which counts as large and as long settled; the cache is this test's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(contents, "LEAST", 30)
    monkeypatch.setattr(contents, "SETTLED", 0.0)
    base = tmp_path / "base"
    for name in ("unet/weights", "vae/weights", "index"):
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_text(f"what {name} holds")
    time.sleep(0.02)  # longer than a tick of the file system's clock
    return base


@pytest.fixture()
def reads(monkeypatch):
    """How often each path's bytes have been read."""
    found = []
    read = files.sha256
    monkeypatch.setattr(files, "sha256", lambda path: found.append(str(path)) or read(path))
    return found


def digest(folder):
    """By the definition: relative names and bytes of all files, sorted."""
    found = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        found.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return found.hexdigest()


def test_it_is_the_hash_of_the_files_and_read_once(folder, reads):
    assert {contents.sha256(folder) for _ in range(64)} == {digest(folder)}
    assert reads == [str(folder)]


def test_processes_that_ask_at_once_read_it_once(folder):
    code = """
import sys
from gillnext.runtime import contents, files
contents.LEAST, contents.SETTLED, read = 30, 0.0, files.sha256
files.sha256 = lambda path: print("read", flush=True) or read(path)
sys.stdin.readline()
print(contents.sha256(sys.argv[1]))
"""
    piped = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen([sys.executable, "-c", code, folder], **piped) for _ in range(4)]
    told = [process.communicate("go\n", timeout=60)[0].split() for process in processes]
    assert sorted(map(len, told)) == [1, 1, 1, 2] and {words[-1] for words in told} == {digest(folder)}


def overwritten(base):
    """Other bytes of the same length, in place, with the old dates put back: what size and date do not tell."""
    path = base / "unet/weights"
    about = path.stat()
    path.write_text(path.read_text().swapcase())
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert path.stat().st_mtime_ns == about.st_mtime_ns and path.stat().st_size == about.st_size


def replaced(base):
    other = base / "unet/other"
    other.write_text("another file's weights")
    os.replace(other, base / "unet/weights")


CHANGES = {
    "overwritten": overwritten,
    "replaced": replaced,
    "added": lambda base: (base / "more").write_text("more"),
    "removed": lambda base: (base / "index").unlink(),
    "renamed": lambda base: (base / "index").rename(base / "model_index"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_noticed(folder, reads, change):
    before = contents.sha256(folder)
    CHANGES[change](folder)
    time.sleep(0.02)
    after = contents.sha256(folder)
    assert after == digest(folder) != before and len(reads) == 2


def test_what_has_just_been_written_is_not_kept(folder, reads, monkeypatch):
    """A second write within a tick of the clock would leave the same dates."""
    monkeypatch.setattr(contents, "SETTLED", 3600.0)
    assert contents.sha256(folder) == contents.sha256(folder) == digest(folder)
    assert len(reads) == 2


def test_what_is_small_leaves_nothing_behind(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(contents, "LEAST", 1 << 30)
    assert contents.sha256(folder) == digest(folder)
    assert contents.sha256(folder / "index") == hashlib.sha256(b"what index holds").hexdigest()
    assert not (tmp_path / "cache").exists()


def test_a_file_alone_is_kept_as_well(folder, reads, monkeypatch):
    monkeypatch.setattr(contents, "LEAST", 1)
    for _ in range(2):
        assert contents.sha256(folder / "index") == hashlib.sha256(b"what index holds").hexdigest()
    assert len(reads) == 1


@pytest.mark.parametrize("fault", ["damaged", "of another form", "unwritable"])
def test_without_a_whole_cache_it_is_read_again(folder, reads, tmp_path, monkeypatch, fault):
    contents.sha256(folder)
    (kept,) = (tmp_path / "cache").rglob("*.json")
    if fault == "damaged":
        kept.write_text('{"state": [')
    elif fault == "of another form":
        kept.write_text(json.dumps({"sha256": "0" * 64}))
    else:
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert contents.sha256(folder) == digest(folder) and len(reads) == 2


def test_all_parts_of_a_cache_read_the_base_once_between_them(folder, reads, tiny, tmp_path):
    """Each part names the whole base's hash, as one alone does."""
    for i in range(3):
        encode.build(tiny.config, tiny.base, tiny.layouts[i : i + 1], tmp_path / f"cache{i}")
        about = files.read_json(tmp_path / f"cache{i}/cache.json")
        assert about["base"]["sha256"] == digest(tiny.base)
    assert reads.count(str(tiny.base)) == 1
