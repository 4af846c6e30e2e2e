"""Writing a cache: shard by shard into a work folder, which a killed stage goes on with; whole, it takes its place.

00000.safetensors   rows of one bucket (`cache_shards.py`)
00000.json          their captions, the names that this shard brought, and the SHA-256 of what it was made from
phrases.safetensors the embeddings (K, C) of the distinct names, in the order of the shards' names, and the states
                    (T, D) and pooled states (P,) of the empty caption
cache.json          the base, the counts, and each shard's rows, bucket and SHA-256

Letters: R rows of a shard, N box slots, K names, T tokens, C, D and P widths of an embedding and of the states.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from gillnext.adapter import cache_shards
from gillnext.adapter.cache_shards import ABOUT, PHRASES, Rows, shard_path, stored
from gillnext.runtime import files

IDENTITY = "identity.json"


class Writer:
    """Shards of a cache in the folder `work`; those that a run of the same `identity` has left there are kept.

    Values are stored in the type `precision`; `embed` makes the embedding (C,) of a name.
    """

    def __init__(self, work: Path, identity: str, precision: str, embed: Callable[[str], Tensor]) -> None:
        self.work, self.precision, self.embed = work, precision, embed
        if work.exists() and files.read_json(work / IDENTITY) != identity:
            shutil.rmtree(work)
        if not work.exists():
            with files.atomic(work) as temporary:
                temporary.mkdir()
                files.write_json(temporary / IDENTITY, identity)
        self.known: dict[str, int] = {}
        self.vectors: list[Tensor] = []
        self.records: list[dict[str, Any]] = []
        self.resuming = True  # until a shard is not there

    def _new(self, number: int) -> Path:
        """Where the embeddings lie of the names that a shard brought, until the cache is whole."""
        return shard_path(self.work, number).with_suffix(".phrases")

    def _take(self, record: dict[str, Any], vectors: Tensor) -> None:
        self.known |= {name: len(self.known) + i for i, name in enumerate(record["names"])}
        self.vectors += [vectors] * bool(record["names"])
        self.records.append({key: record[key] for key in ("rows", "bucket", "sha256")})

    def _drop(self) -> None:
        """Remove what was left of shards after those that are known."""
        self.resuming = False
        for path in list(self.work.iterdir()):
            if path.name.startswith("."):
                shutil.rmtree(path)  # of a file that a killed process was writing
            elif path.stem.isdigit() and int(path.stem) >= len(self.records):
                path.unlink()

    def taken(self, made_from: str) -> bool:
        """Whether the next shard is there already, made from the same; where it is not, nothing later is kept."""
        number = len(self.records)
        path = shard_path(self.work, number)
        if self.resuming and path.exists():
            record = files.read_json(path.with_suffix(".json"))
            if record["made_from"] == made_from:
                self._take(record, load_file(self._new(number))["phrases"])
                return True
        if self.resuming:
            self._drop()
        return False

    def add(
        self,
        parts: Iterable[Rows],
        names: Sequence[Sequence[str]],
        captions: Sequence[str],
        made_from: str,
        bucket: Sequence[int],
        slots: int,
    ) -> None:
        """Write the next shard, of rows in parts. Their phrases are not read: they come of `names`, one list a row, in
        the order of its slots.
        """
        number, path = len(self.records), shard_path(self.work, len(self.records))
        new = list(dict.fromkeys(name for row in names for name in row if name not in self.known))
        known = self.known | {name: len(self.known) + i for i, name in enumerate(new)}
        names_RN = torch.full((len(names), slots), -1, dtype=torch.int32)
        for i, row in enumerate(names):
            names_RN[i, : len(row)] = torch.tensor([known[name] for name in row], dtype=torch.int32)
        vectors = torch.stack([self.embed(name) for name in new]) if new else torch.zeros(0)
        vectors = stored(vectors, self.precision, "phrase embeddings")
        with files.atomic(self._new(number)) as temporary:
            save_file({"phrases": vectors}, temporary)
        record = {"rows": len(names), "bucket": list(bucket), "made_from": made_from, "names": new}
        with files.atomic(path) as temporary:
            cache_shards.save(temporary, (cache_shards.packed(rows, self.precision) for rows in parts), names_RN)
            record["sha256"] = files.sha256(temporary)
            files.write_json(path.with_suffix(".json"), record | {"captions": list(captions)})
        self._take(record, vectors)

    def finish(self, out: Path, about: dict[str, Any], empty_states: Tensor, empty_pooled: Tensor) -> None:
        """Write the table of phrases and what the cache tells of itself; the folder becomes `out`."""
        if self.resuming:
            self._drop()
        table = {"phrases": torch.cat(self.vectors)}
        table["empty_states"] = stored(empty_states, self.precision, "text states")
        table["empty_pooled"] = stored(empty_pooled, self.precision, "text states")
        with files.atomic(self.work / PHRASES) as temporary:
            save_file({name: tensor.contiguous() for name, tensor in table.items()}, temporary)
        about = about | {"precision": self.precision, "tokens": len(empty_states), "names": len(self.known)}
        about |= {"shards": self.records, "sha256": files.sha256(self.work / PHRASES)}
        files.write_json(self.work / ABOUT, about)
        with files.atomic(out) as temporary:
            self.work.rename(temporary)
            (temporary / IDENTITY).unlink()
            for number in range(len(self.records)):
                shard_path(temporary, number).with_suffix(".phrases").unlink()
