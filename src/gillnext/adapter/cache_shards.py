"""The files of a cache: rows of one bucket each, memory-mapped.

A shard of n rows with N box slots holds `latents` (n, C, h, w), `pooled` (n, P), `time_ids` (n, 6), `boxes` (n, N, 4),
`names` (n, N), the index of each slot's name in the cache's table of phrases, -1 where the slot is empty, and the text
states: `states` (S, D) of all rows, one after the other, `starts` (n + 1,), where each row's begin, and `repeated`.

An SDXL-style UNet attends to the states of padding as well. ChatGLM pads on the left, and there every place sees the
whole caption: its states differ between captions, and are one and the same within a caption. So the first state of a
row is kept once, with how often it stands there again. CLIP pads on the right, with states that differ: all are kept.

Letters: R rows, T tokens, D width of the text states, N box slots.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from gillnext.runtime.errors import UserError

ROWS = 512  # of a shard, at most
ABOUT, PHRASES = "cache.json", "phrases.safetensors"  # the other files of a cache
LIBC = ctypes.CDLL(None)
TYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def shard_path(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.safetensors"


@dataclass(frozen=True)
class Rows:
    """Rows of one bucket, float32: latents (R, C, h, w), scaled as the UNet wants them; states (R, T, D) and pooled
    (R, P) of the captions; time_ids (R, 6), SDXL's conditions in pixels; boxes (R, N, 4), xyxy in [0, 1]; real (R, N)
    bool, which slots are filled; phrases (R, N, C), in the width of the UNet's cross-attention.
    """

    latents: Tensor
    states: Tensor
    pooled: Tensor
    time_ids: Tensor
    boxes: Tensor
    real: Tensor
    phrases: Tensor


def cut(states_RTD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """States (S, D) without each row's repetitions of its first; how many a row has left, and had left out (R,)."""
    same_RT = (states_RTD == states_RTD[:, :1]).all(-1)
    repeated_R = same_RT.int().cumprod(1).sum(1).clamp(min=1) - 1
    kept = [states[repeats:] for states, repeats in zip(states_RTD, repeated_R.tolist(), strict=True)]
    return torch.cat(kept), states_RTD.shape[1] - repeated_R, repeated_R


def stored(values: Tensor, precision: str, what: str) -> Tensor:
    """`values` in the type that the cache keeps; `UserError` where they do not fit into it."""
    kept = values.to(TYPES[precision])
    if not kept.isfinite().all():
        lost = "are not finite" if not values.isfinite().all() else "overflow"
        remedy = "cache.precision: bfloat16 or float32; a base whose autoencoder or text encoder overflows in half "
        remedy += "precision wants run.precision: no"
        raise UserError(f"{what} {lost}", where=f"cache.precision: {precision}", remedy=remedy)
    return kept


def packed(rows: Rows, precision: str) -> dict[str, Tensor]:
    """Some rows' tensors of a shard, but for the names; `starts` has how many states each row has left."""
    states_SD, left_R, repeated_R = cut(stored(rows.states, precision, "text states"))
    return {
        "latents": stored(rows.latents, precision, "latents"),
        "pooled": stored(rows.pooled, precision, "pooled text states"),
        "time_ids": rows.time_ids,
        "boxes": rows.boxes,
        "states": states_SD,
        "starts": left_R.long(),
        "repeated": repeated_R.int(),
    }


def save(path: Path, parts: Iterable[dict[str, Tensor]], names_RN: Tensor) -> None:
    """Write a shard of rows in parts (`packed`); `names_RN` are places in the table of phrases, -1 in empty slots."""
    kept = list(parts)
    tensors = {name: torch.cat([part[name] for part in kept]).contiguous() for name in kept[0]}
    starts = torch.cat([torch.zeros(1, dtype=torch.int64), tensors["starts"].cumsum(0)])
    save_file(tensors | {"starts": starts, "names": names_RN}, path)


def fetch(tensors: Iterable[Tensor]) -> None:
    """Have the system read mapped tensors from the disk, all at a time, before the first is waited for."""
    for tensor in tensors:
        start = tensor.data_ptr() & -mmap.PAGESIZE
        size = tensor.data_ptr() + tensor.nbytes - start
        LIBC.madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), mmap.MADV_WILLNEED)  # an advice: it may fail


class Mapped:
    """The tensors of a safetensors file; the system reads of it what is asked for."""

    def __init__(self, path: Path) -> None:
        try:
            data = safe_open(path, "pt")
            self.tensors = {name: data.get_tensor(name) for name in data.keys()}  # noqa: SIM118 (not a dict)
        except (OSError, SafetensorError) as error:
            remedy = "delete the cache's folder and run the cache stage again"
            raise UserError(f"cannot be read: {error}", where=str(path), remedy=remedy) from error

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]


def gather(parts: Sequence[tuple[Mapped, Mapped, int]], length: int) -> Rows:
    """The rows named by (shard, table of phrases, row in the shard), with text states of `length` tokens.

    Raises `ValueError` where they are of several buckets.
    """
    first, table, _ = parts[0]
    if len({shard["latents"].shape[1:] for shard, *_ in parts}) > 1:
        raise ValueError("the rows of a batch are of one bucket")
    fetch(shard["latents"][row] for shard, _, row in parts)
    ends = [shard["starts"][row : row + 2].tolist() for shard, _, row in parts]
    fetch(shard["states"][begin:end] for (shard, *_), (begin, end) in zip(parts, ends, strict=True))
    count, slots, width = len(parts), first["boxes"].shape[1], first["states"].shape[1]
    latents = torch.empty(count, *first["latents"].shape[1:])
    states, pooled = torch.empty(count, length, width), torch.empty(count, first["pooled"].shape[1])
    time_ids, boxes = torch.empty(count, 6), torch.empty(count, slots, 4)
    real, phrases = torch.empty(count, slots, dtype=torch.bool), torch.zeros(count, slots, table["phrases"].shape[1])
    for i, ((shard, table, row), (begin, end)) in enumerate(zip(parts, ends, strict=True)):
        latents[i], pooled[i] = shard["latents"][row], shard["pooled"][row]
        time_ids[i], boxes[i] = shard["time_ids"][row], shard["boxes"][row]
        repeated = int(shard["repeated"][row])
        states[i, :repeated], states[i, repeated:] = shard["states"][begin], shard["states"][begin:end]
        names = shard["names"][row]
        real[i] = names >= 0
        phrases[i, real[i]] = table["phrases"][names[real[i]].long()].float()
    return Rows(latents, states, pooled, time_ids, boxes, real, phrases)
