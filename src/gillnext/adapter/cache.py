"""The cache that adapter training reads: rows of latents, text states, boxes and phrases, encoded once for all arms and
seeds (`encode.py`).

A cache is a folder of shards (`cache_shards.py`, `cache_writer.py`), each of rows of one size (`buckets.py`); several
folders are read as one. Training holds no more of the rows in memory than a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gillnext.adapter import cache_shards
from gillnext.adapter.cache_shards import ABOUT, PHRASES, Mapped, Rows, shard_path
from gillnext.runtime import files
from gillnext.runtime.errors import UserError

Size = tuple[int, int]


@dataclass(frozen=True)
class Base:
    """What a cache tells of the base that it was made with: the pipeline's class, pixels a side of its squares,
    channels of its latents, width of its UNet's cross-attention, and the SHA-256 of its folder.
    """

    pipeline: str
    side: int
    channels: int
    cross_attention: int
    sha256: str

    def check(self, unet: Any, where: str) -> None:
        """Raise `UserError` unless the UNet, of this configuration, can train on what this base has encoded."""
        for what, ours, theirs in (
            ("cross-attention width", self.cross_attention, unet.cross_attention_dim),
            ("channels of the latents", self.channels, unet.in_channels),
        ):
            if ours != theirs:
                raise UserError(
                    f"the cache was made with a {self.pipeline} of {what} {ours}; the UNet has {theirs}",
                    where=where,
                    remedy="encode with the base that is trained on: run the cache stage again",
                )


class Cache:
    """What adapter training reads: the rows of one or more folders, by number, from their memory-mapped shards.

    `empty_states` (T, D) and `empty_pooled` (P,) are of the empty caption, float32; `tokens` is T, `base` what the rows
    were encoded with.
    """

    def __init__(self, *folders: Path | str) -> None:
        self.folders = [Path(folder) for folder in folders]
        abouts = [_about(folder) for folder in self.folders]
        self.base, self.tokens = Base(**abouts[0]["base"]), int(abouts[0]["tokens"])
        for folder, about in zip(self.folders, abouts, strict=True):
            for key in ("base", "tokens", "slots"):
                if about[key] != abouts[0][key]:
                    what = f"{key} is {about[key]}, and {abouts[0][key]} in {self.folders[0]}"
                    remedy = "give folders that were made with one base and the same settings"
                    raise UserError(what, where=str(folder / ABOUT), remedy=remedy)
        self.tables = [Mapped(folder / PHRASES) for folder in self.folders]
        records = [(i, j, record) for i, about in enumerate(abouts) for j, record in enumerate(about["shards"])]
        self.places = [(i, shard_path(self.folders[i], j)) for i, j, _ in records]
        self.starts = np.cumsum([0, *(record["rows"] for *_, record in records)])
        of_bucket: dict[Size, list[int]] = {}
        for number, (*_, record) in enumerate(records):
            of_bucket.setdefault(tuple(record["bucket"]), []).append(number)
        self.buckets = {size: np.array(numbers) for size, numbers in of_bucket.items()}
        self.empty_states, self.empty_pooled = (self.tables[0][f"empty_{k}"].float() for k in ("states", "pooled"))
        self._mapped: dict[int, Mapped] = {}

    @classmethod
    def load(cls, *folders: Path | str) -> Cache:
        """The cache in `folders`, in their order; `UserError` where one is none, or of another base."""
        return cls(*folders)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(self.folders)

    def __len__(self) -> int:
        return int(self.starts[-1])

    def check(self, unet: Any) -> None:
        """Raise `UserError` unless a UNet of this configuration can be trained on the cache."""
        self.base.check(unet, str(self.folders[0]))

    def pick(self, count: int, generator: torch.Generator, distinct: bool = False) -> Tensor:
        """Numbers (count,) of rows of one bucket, drawn by `generator`; a bucket as often as it has rows.

        Raises `UserError` where `distinct` ones are asked for and no bucket has as many.
        """
        rows = {size: int((self.starts[n + 1] - self.starts[n]).sum()) for size, n in self.buckets.items()}
        enough = {size: n for size, n in rows.items() if n >= count or not distinct}
        if not enough:
            what = f"a batch of {count} distinct rows out of {max(rows.values())}"
            raise UserError(what, where=str(self.folders[0]), remedy="give a smaller batch")
        sizes, bounds = list(enough), np.cumsum(list(enough.values()))
        chosen = 0
        if len(sizes) > 1:
            anchor = torch.randint(int(bounds[-1]), (1,), generator=generator).item()
            chosen = int(np.searchsorted(bounds, anchor, "right"))
        of, total = self.buckets[sizes[chosen]], enough[sizes[chosen]]
        if distinct:
            drawn = torch.randperm(total, generator=generator)[:count].numpy()
        else:
            drawn = torch.randint(total, (count,), generator=generator).numpy()
        ends = np.cumsum(self.starts[of + 1] - self.starts[of])
        place = np.searchsorted(ends, drawn, "right")
        return torch.from_numpy(drawn - ends[place] + self.starts[of + 1][place])

    def read(self, pick: Tensor | Sequence[int]) -> Rows:
        """The rows of these numbers, which are of one bucket."""
        rows = np.asarray(pick)
        numbers = np.searchsorted(self.starts, rows, "right") - 1
        found = []
        for number, row in zip(numbers.tolist(), (rows - self.starts[numbers]).tolist(), strict=True):
            folder, path = self.places[number]
            if number not in self._mapped:
                self._mapped[number] = Mapped(path)
            found.append((self._mapped[number], self.tables[folder], row))
        return cache_shards.gather(found, self.tokens)


def _about(folder: Path) -> dict[str, Any]:
    if not (folder / ABOUT).exists():
        raise UserError("no cache", where=str(folder), remedy="name a folder that `gillnext cache` wrote")
    about = files.read_json(folder / ABOUT)
    if "shards" not in about:
        raise UserError("an older cache, in one file", where=str(folder), remedy="run the cache stage again")
    return about


def captions(*folders: Path | str) -> list[str]:
    """The captions of the caches' rows, in order."""
    paths = [path for folder in folders for path in sorted(Path(folder).glob("[0-9]*.json"))]
    return [caption for path in paths for caption in files.read_json(path)["captions"]]
