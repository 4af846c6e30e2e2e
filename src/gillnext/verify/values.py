"""SHA-256 of the values in a file, whatever its bytes: tensors, pixels, cells, the keys of JSON that a run decides.

Two runs of the same values give the same hashes on any machine, in any folder, on the host or in a container. Weights
count as tensors (name, type, shape, bytes), pictures as pixels, tables by their cells. What is left out stands in
`LEFT_OUT` and `UNREAD`, with the reason, and nowhere else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO

from gillnext.runtime import files
from gillnext.runtime.errors import UserError

# Keys of JSON objects and columns of tables, at any depth.
LEFT_OUT = {
    "provenance": "code, locks, image and machine: how the values were made",
    "hashes": "of files, whose bytes hold more than values; the values have hashes of their own here",
    "sha256": "of files, as above",
    "made_from": "of a cache shard's rows, in whose words stand the paths of their pictures",
    "seconds": "a time",
    "peak_rss_bytes": "resident memory as the system counts it; the bytes of tensors stay in",
    "image_path": "a path",
    "name_or_path": "a path, which transformers writes",
    "_name_or_path": "a path, which transformers and diffusers write",
    "is_local": "where a tokenizer was loaded from",
    "local_files_only": "where a tokenizer was loaded from",
    "transformers_version": "of a library; the locks tell it",
    "_diffusers_version": "of a library; the locks tell it",
    "detail": "an error's own words, which may tell a port or a time; its kind stays in",
}
# Folders and files of an output, by name.
UNREAD = {
    "tensorboard": "times, beside the histories that the JSON files hold",
    "bars.json": "made with the table of whole runs, which is no part of a run",
    "README.md": "an adapter's card: prose, told from the settings and files beside it",
}


def digest(*parts: bytes | str) -> str:
    """SHA-256 of parts, each with its length before it, so that no two lists of parts are told alike."""
    found = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        found.update(len(data).to_bytes(8, "little") + data)
    return found.hexdigest()


def stripped(value: Any) -> Any:
    """`value`, read from JSON, without the keys of `LEFT_OUT`."""
    if isinstance(value, dict):
        return {key: stripped(part) for key, part in value.items() if key not in LEFT_OUT}
    return [stripped(part) for part in value] if isinstance(value, list) else value


def of_json(value: Any) -> str:
    return digest(json.dumps(stripped(value), sort_keys=True, ensure_ascii=False))


def _json(path: Path) -> str:
    return of_json(files.read_json(path, finite=False))  # diffusers writes -Infinity into a scheduler's settings


def _rows(path: Path) -> str:
    return of_json(list(files.read_jsonl(path)))


def _header(data: BinaryIO) -> dict[str, Any]:
    size = int.from_bytes(data.read(8), "little")
    header = json.loads(data.read(size))
    return {name: entry for name, entry in header.items() if name != "__metadata__"}


def _tensors(path: Path) -> str:
    """Of each tensor of a safetensors file its name, type, shape and bytes, by name; not the file's metadata.

    The format: eight bytes of length, a JSON header with each tensor's place, then the bytes.
    """
    parts: list[bytes | str] = []
    with open(path, "rb") as data:
        header = _header(data)
        start = data.tell()
        for name in sorted(header):
            first, last = header[name]["data_offsets"]
            data.seek(start + first)
            shape = json.dumps(header[name]["shape"])
            parts += [name, header[name]["dtype"], shape, data.read(last - first)]
    return digest(*parts)


def _pixels(path: Path) -> str:
    """Mode, size and pixels of a picture; a palette's as the colours that it names."""
    from PIL import Image

    with Image.open(path) as image:
        plain = image.convert("RGBA") if image.mode == "P" else image
        return digest(plain.mode, json.dumps(plain.size), plain.tobytes())


def _table(path: Path) -> str:
    """Names, types and cells of a Parquet file, in the order of its rows."""
    import polars as pl

    table = pl.read_parquet(path)
    table = table.drop([name for name in table.columns if name in LEFT_OUT])
    schema = [[name, str(kind)] for name, kind in table.schema.items()]
    return digest(json.dumps(schema), table.write_ndjson())


def _array(path: Path) -> str:
    """Type, shape and bytes of a NumPy array."""
    import numpy as np

    found = np.load(path, allow_pickle=False)
    return digest(found.dtype.str, json.dumps(found.shape), found.tobytes())


def _bytes(path: Path) -> str:
    return digest(path.read_bytes())


READERS: dict[str, Callable[[Path], str]] = {
    ".json": _json,
    ".jsonl": _rows,
    ".safetensors": _tensors,
    ".npy": _array,
    ".png": _pixels,
    ".jpg": _pixels,
    ".parquet": _table,
    ".arrow": _bytes,  # of a dataset: its fingerprint is of what it holds
    ".csv": _bytes,  # of caption shards: text is a value
    ".tsv": _bytes,  # tables of names
    ".txt": _bytes,  # word lists, merges, the listing of attention processors
    ".model": _bytes,  # sentencepiece's pieces, trained from memory: no path in it
    ".jinja": _bytes,  # chat templates
}


def of_file(path: Path) -> str:
    """The hash of one file's values; `UserError` for a kind of file that has no reader here."""
    if path.suffix not in READERS:
        remedy = f"add a reader to gillnext.verify.values, which has {', '.join(READERS)}"
        raise UserError(f"no way to hash a {path.suffix or path.name} file's values", where=str(path), remedy=remedy)
    return READERS[path.suffix](path)


def _read(path: Path) -> bool:
    return path.name not in UNREAD and not path.name.startswith(".")


def _files(path: Path) -> Iterable[Path]:
    if not path.is_dir():
        return [path] if _read(path) else []
    found = (file for file in path.rglob("*") if file.is_file())
    return sorted(file for file in found if all(_read(path / part) for part in file.relative_to(path).parts))


def of_output(root: Path, outputs: Iterable[str]) -> str:
    """The hash of a job's outputs, files and folders of the results folder `root`, with their names in it."""
    parts: list[str] = []
    for name in outputs:
        path = root / name
        if not path.exists():
            raise UserError("no such output", where=str(path), remedy="run the workflow to its end first")
        for file in _files(path):
            parts += [file.relative_to(root).as_posix(), of_file(file)]
    return digest(*parts)
