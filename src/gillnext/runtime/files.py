"""Files that appear whole or not at all, and JSON, JSONL and hashes in one place."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from gillnext.runtime.errors import UserError

RULES = (
    'JSON has "straight quotes", no comma before a bracket that closes, and each key of an object once; '
    "JSON lines have a whole object a line"
)
AGAIN = "run the stage that wrote the file again"
_HALF_A_PAIR = re.compile("[\ud800-\udfff]")  # of UTF-16: an escape in JSON can name it, UTF-8 has no bytes for it


@contextmanager
def full_disk_told(path: Path) -> Iterator[None]:
    """Raise `UserError` where the disk is full while `path` is written."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        free = shutil.disk_usage(path.parent).free if path.parent.exists() else 0
        raise UserError(
            f"no space left while writing ({free / 2**20:.0f} MiB free)",
            where=str(path),
            remedy="free some disk and run the same command again; finished work is kept",
        ) from error


@contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it on success, remove it on failure.

    The temporary may be made a file or a folder. An existing folder is deleted once the new one stands in its place; so
    is what a killed process has left of its own. Raises `UserError` where the disk is full.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    folder, lock = _unfinished(path)
    temporary = folder / path.name
    try:
        with full_disk_told(path):
            yield temporary
            _replace(temporary, path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _unfinished(path: Path) -> tuple[Path, int]:
    """An empty folder beside `path`, and a descriptor that locks it until it is closed.

    Its name is always the same, so that what a killed process has left goes with the next write; but another while a
    living process has that one, and on file systems without locks.
    """
    folder = path.with_name(f".{path.name}.unfinished")
    try:
        folder.mkdir(exist_ok=True)
        return folder, _taken(folder)
    except OSError as error:
        if not isinstance(error, BlockingIOError):
            with suppress(OSError):
                folder.rmdir()
    other = tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent)
    return Path(other), os.open(other, os.O_RDONLY)


def _taken(folder: Path) -> int:
    """The folder's lock, and nothing left in it; `OSError` where it cannot be had."""
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(lock), folder.stat()):
            raise FileNotFoundError(folder)  # who held it has removed it meanwhile
        for left in folder.iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    except OSError:
        os.close(lock)
        raise
    return lock


def _replace(new: Path, path: Path) -> None:
    """Rename `new` to `path`; a folder that is there ends beside `new`, as a rename cannot write over it."""
    if not path.is_dir() or path.is_symlink():
        os.replace(new, path)
        return
    old = new.with_name(f"{path.name}.old")
    os.replace(path, old)
    try:
        os.replace(new, path)
    except OSError:
        os.replace(old, path)
        raise


def link(path: Path, other: Path) -> None:
    """Another name, `other`, for a file; a copy where the file system has no second names."""
    try:
        os.link(path, other)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EXDEV, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS):
            raise
        shutil.copyfile(path, other)


def write_text(path: Path | str, text: str) -> None:
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path | str, value: Any) -> None:
    """Sorted, indented, readable Chinese: the same value gives the same bytes."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True, allow_nan=False) + "\n")


def is_text(value: object) -> bool:
    """Whether a value out of JSON is a text that is not blank and can be written as UTF-8."""
    return isinstance(value, str) and bool(value.strip()) and not _HALF_A_PAIR.search(value)


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these keys and values; `ValueError` where a key comes twice, as one of its values would be lost."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"{key!r} comes twice")
        found[key] = value
    return found


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number")


def _from_json(text: str, path: Path | str, first: int = 1, finite: bool = True) -> Any:
    """The value of a JSON text that begins in line `first` of `path`; `UserError` where it is not quite JSON."""
    try:
        return json.loads(text, object_pairs_hook=unique, parse_constant=_no_number if finite else None)
    except (ValueError, RecursionError) as error:
        what, line = str(error), first
        if isinstance(error, json.JSONDecodeError):
            what, line = f"{error.msg} at column {error.colno}", first + error.lineno - 1
        where = f"{path}, line {line}"
        raise UserError(f"not JSON: {what}", where=where, remedy=f"correct it ({RULES}), or {AGAIN}") from error


def read_json(path: Path | str, finite: bool = True) -> Any:
    """The value of a JSON file; `UserError` where there is none, or where a number is not `finite` and has to be."""
    return _from_json(read_text(path), path, finite=finite)


def write_jsonl(path: Path | str, rows: Iterable[dict[str, Any]]) -> None:
    """A JSON object a line, with sorted keys; `rows` may be more than fit into memory."""
    with atomic(path) as temporary, open(temporary, "w", encoding="utf-8") as lines:
        lines.writelines(json.dumps(row, ensure_ascii=False, sort_keys=True, allow_nan=False) + "\n" for row in rows)


def numbered_lines(path: Path | str, remedy: str = f"save it as UTF-8, or {AGAIN}") -> Iterator[tuple[int, str]]:
    """(number, text) of each line of a UTF-8 file, which a newline alone ends; a byte order mark is left out.

    Raises `UserError` where the file cannot be read, and with `remedy` where it has other bytes.
    """
    try:
        lines = open(path, "rb")  # noqa: SIM115 (closed below; text would end lines at a carriage return as well)
    except OSError as error:
        what = "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
        raise UserError(what, where=str(path), remedy="name a file that is there") from error
    with lines:
        for number, line in enumerate(lines, 1):
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError as error:
                what = f"byte 0x{line[error.start]:02x} is not UTF-8"
                raise UserError(what, where=f"{path}, line {number}", remedy=remedy) from error
            yield number, text.removeprefix("\ufeff") if number == 1 else text


def read_text(path: Path | str) -> str:
    """The text of a UTF-8 file; `UserError` where it cannot be read."""
    return "".join(line for _, line in numbered_lines(path))


def numbered_jsonl(path: Path | str) -> Iterator[tuple[int, Any]]:
    """(line number, value) of each line of a JSONL file that is not blank; a broken line raises `UserError`."""
    return ((number, _from_json(line.rstrip(), path, number)) for number, line in numbered_lines(path) if line.strip())


def read_jsonl(path: Path | str) -> Iterator[dict[str, Any]]:
    """The rows of a JSONL file; a broken line raises `UserError` with its number."""
    return (row for _, row in numbered_jsonl(path))


def sha256(path: Path | str) -> str:
    """Hex digest of a file, or of a folder's files by sorted relative name."""
    path, digest = Path(path), hashlib.sha256()
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    for file in files:
        if path.is_dir():
            digest.update(str(file.relative_to(path)).encode())
        with open(file, "rb") as data:
            while block := data.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
