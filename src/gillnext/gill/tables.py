"""What training looks up, encoded once: pictures' features, and captions' states as the base's text encoder gives them.

Each table is a file of the work folder, named by what it is made from, so that a run that was killed finds it again.

Letters: N pictures, V visual features, G their cells, B captions looked up, T text states, C their width, P that of
the pooled state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from gillnext.adapter.cache_shards import stored
from gillnext.adapter.encoder import Encoder
from gillnext.gill.visual import Eyes
from gillnext.runtime import files, provenance
from gillnext.runtime.progress import Progress

PART = 64  # rows that are encoded at a time
SOME = 1024  # captions that tell the states' mean and spread

Table = dict[str, Tensor]


def encoded(work: Path, name: str, count: int, part: Callable[[slice], Table], *made_from: object) -> Table:
    """The table `name` of `count` rows, read where it is in the folder `work`, else made of `part(rows)` and kept."""
    key = provenance.fingerprint(*made_from, code=["gillnext.gill.tables"])
    path = work / f"{name}-{key}.safetensors"
    if not path.exists():
        made: list[Table] = []
        with Progress(f"gill, {name}", count, "rows") as progress:
            for first in range(0, count, PART):
                made.append(part(slice(first, first + PART)))
                progress.step(min(PART, count - first))
        with files.atomic(path) as temporary:
            save_file({name: torch.cat([rows[name] for rows in made]).contiguous() for name in made[0]}, temporary)
    return load_file(path)


def features(eyes: Eyes, pictures: Sequence[Path], work: Path) -> Tensor:
    """Features (N, V) or (N, G, V) of pictures, which are read as they are needed."""
    about = [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in pictures]
    return encoded(
        work, "features", len(pictures), lambda rows: {"features": eyes.features(pictures[rows])},
        about, eyes.hash, eyes.cells, str(eyes.dtype),
    )["features"]  # fmt: skip


class Captions:
    """The text encoder's states of captions; each distinct one is encoded once, and kept in the type `precision`."""

    def __init__(self, encoder: Encoder, captions: Sequence[str], precision: str, work: Path) -> None:
        texts = list(dict.fromkeys(captions))
        self.number = {text: i for i, text in enumerate(texts)}

        def part(rows: slice) -> Table:
            states, pooled = encoder.captions(texts[rows])
            return {
                "states": stored(states, precision, "text states"),
                "pooled": stored(pooled, precision, "pooled text states"),
            }

        dtype = str(encoder.pipeline.dtype)
        self.table = encoded(work, "captions", len(texts), part, texts, encoder.base.sha256, dtype, precision)

    def __len__(self) -> int:
        return len(self.number)

    def some(self) -> tuple[Tensor, Tensor]:
        """States and pooled states of the first `SOME` distinct captions, float32."""
        return self.table["states"][:SOME].float(), self.table["pooled"][:SOME].float()

    def variances(self) -> tuple[float, float]:
        """Of states and of pooled states, about the mean of each of their T·C and P numbers over some captions."""
        states, pooled = self.some()
        return states.var(0).mean().item(), pooled.var(0).mean().item()

    def __call__(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """States (B, T, C) and pooled states (B, P), float32."""
        rows = [self.number[caption] for caption in captions]
        return self.table["states"][rows].float(), self.table["pooled"][rows].float()
