"""Bytes, memory and speed of an adapter's cache with many synthetic rows: written shard by shard, read shuffled.

Writing and reading run in a process of their own each, and tell its memory: anonymous (what the process holds itself;
the peak of one look a batch) and mapped from files (pages that the system takes back as it likes). Before reading, the
files' pages are dropped from the system's cache; the second round reads other rows, of which some are still there.

    python benchmarks/cache.py --shape sdxl --rows 20000 --folder /big/disk
    python benchmarks/cache.py --shape demo --rows 500000 --folder /big/disk

It deletes what it has written. Training asks for batches as here: `objective.draw`, with timesteps and noise.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from diffusers import DDPMScheduler
from torch import Tensor

from gillnext.adapter import objective
from gillnext.adapter.cache import Base, Cache
from gillnext.adapter.cache_shards import ROWS, Rows
from gillnext.adapter.cache_writer import Writer

# Latents, tokens, width of text states, of pooled ones and of phrases, precision, and tokens of a caption (CLIP's
# states differ at every place; of ChatGLM's those before the caption are one).
SHAPES = {
    "sdxl": ((4, 128, 128), 77, 2048, 1280, 2048, "float16", (77, 77)),
    "kolors": ((4, 128, 128), 256, 4096, 4096, 2048, "float16", (10, 60)),
    "demo": ((4, 16, 16), 32, 96, 96, 96, "float32", (8, 30)),
}
SLOTS, NAMES, PART = 6, 1_000, 64


def resident(kind: str) -> float:
    """MiB of the process's memory of a kind that /proc/self/status knows (RssAnon, RssFile)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(kind):
            return int(line.split()[1]) / 1024
    raise KeyError(kind)


def states(count: int, tokens: int, width: int, lengths: tuple[int, int], generator: torch.Generator) -> Tensor:
    found = torch.randn(count, tokens, width, generator=generator)
    for row in found:
        length = int(torch.randint(lengths[0], lengths[1] + 1, (1,), generator=generator))
        row[: tokens - length] = row[tokens - length].clone()
    return found


def noise(shape: str) -> Rows:
    """Rows of noise, which are written again and again."""
    latents, tokens, width, pooled, _, _, lengths = SHAPES[shape]
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(PART, SLOTS, 2, generator=generator) * 0.5
    return Rows(
        torch.randn(PART, *latents, generator=generator),
        states(PART, tokens, width, lengths, generator),
        torch.randn(PART, pooled, generator=generator),
        torch.zeros(PART, 6),
        torch.cat([corner, corner + 0.4], -1),
        torch.ones(PART, SLOTS, dtype=torch.bool),
        torch.zeros(0),
    )


def parts(rows: Rows, count: int) -> Iterator[Rows]:
    for start in range(0, count, PART):
        yield Rows(**{name: value[: count - start] for name, value in vars(rows).items()})


def write(shape: str, rows: int, folder: Path) -> None:
    latents, tokens, width, pooled, phrase, precision, _ = SHAPES[shape]
    made, began, peak = noise(shape), time.monotonic(), 0.0
    writer = Writer(folder.with_name("cache.work"), "", precision, lambda name: torch.randn(phrase))
    for start in range(0, rows, ROWS):
        count = min(ROWS, rows - start)
        names = [[f"name {(start + row) * SLOTS % NAMES + slot}" for slot in range(SLOTS)] for row in range(count)]
        writer.add(parts(made, count), names, [""] * count, "", (1, 1), SLOTS)
        peak = max(peak, resident("RssAnon"))
    base = {"pipeline": "none", "side": 1, "channels": latents[0], "cross_attention": phrase, "sha256": ""}
    writer.finish(folder, {"base": vars(Base(**base)), "slots": SLOTS}, torch.zeros(tokens, width), torch.zeros(pooled))
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(f"{shape}, {rows} rows: {size / 1e9:.2f} GB, {size / rows:.0f} bytes a row; written in "
          f"{time.monotonic() - began:.0f} s, anonymous memory at most {peak:.0f} MiB", flush=True)  # fmt: skip


def forget(folder: Path) -> None:
    """Have the system drop the files' pages from its cache."""
    os.sync()
    for file in folder.iterdir():
        with open(file, "rb") as data:
            os.posix_fadvise(data.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def drawn(cache: Cache, scheduler: DDPMScheduler, batch: int, names: tuple[int, ...]) -> float:
    """Draw a batch; returns MiB of the process's anonymous memory while it is there."""
    kept = objective.draw(cache, scheduler, batch, 0.1, names)
    return resident("RssAnon") if len(kept) else 0.0


def read(batch: int, rows: int, rounds: int, readers: int, folder: Path) -> None:
    """Draw batches until as many rows are read as are asked for, `rounds` times, by threads as a loader has them."""
    forget(folder)
    before, began = resident("RssAnon"), time.monotonic()
    cache, scheduler = Cache.load(folder), DDPMScheduler()
    print(f"loaded in {time.monotonic() - began:.2f} s", flush=True)
    for number in range(rounds):
        peak, began, processor = 0.0, time.monotonic(), time.process_time()
        with ThreadPoolExecutor(readers) as pool:
            names = [(number, step) for step in range(max(rows // batch, 1))]
            for held in pool.map(lambda name: drawn(cache, scheduler, batch, name), names):
                peak = max(peak, held)
        seconds, busy = time.monotonic() - began, time.process_time() - processor
        count = max(rows // batch, 1) * batch
        print(f"round {number + 1}: {count / seconds:.0f} rows/s, {busy / seconds:.2f} processors, {readers} readers, "
              f"batches of {batch}, anonymous memory at most {peak:.0f} MiB ({before:.0f} before it was opened), "
              f"mapped from files {resident('RssFile'):.0f} MiB", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="sdxl")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--read", type=int, default=4_000, help="rows that a round reads")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--readers", type=int, default=2, help="threads that draw batches")
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    parser.add_argument("--folder", type=Path, required=True, help="where a folder of the cache's size has room")
    parser.add_argument("--only", choices=["write", "read"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    cache = args.folder / "benchmark-cache" / "cache"
    torch.set_num_threads(args.threads)
    if args.only == "write":
        write(args.shape, args.rows, cache)
    elif args.only == "read":
        read(args.batch, args.read, args.rounds, args.readers, cache)
    else:
        try:
            for only in ("write", "read"):
                subprocess.run([sys.executable, *sys.argv, "--only", only], check=True)
        finally:
            shutil.rmtree(cache.parent, ignore_errors=True)


if __name__ == "__main__":
    main()
