"""Encode the annotated images and captions once, for every arm and seed.

    gillnext cache --config config.yaml --base results/demo/models/base \
        --layouts results/demo/layouts/*.jsonl --out results/demo/cache

What it writes stands in `cache.py`. A killed stage goes on at the first shard that is not there; no more of the rows
than a shard is in memory, nor of their pictures than two parts of one.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from gillnext import layouts
from gillnext.adapter import buckets, cache_shards
from gillnext.adapter.buckets import Frame, Size
from gillnext.adapter.cache_shards import Rows
from gillnext.adapter.cache_writer import Writer
from gillnext.adapter.encoder import BATCH, Encoder
from gillnext.adapter.grounding import pad
from gillnext.config.arguments import add_config, add_out, config
from gillnext.config.model import Config
from gillnext.layouts import Box, Layout
from gillnext.runtime import arithmetic, files, provenance, training
from gillnext.runtime.errors import UserError
from gillnext.runtime.progress import Progress

SIDEWAYS, ORIENTATION = range(5, 9), 0x0112  # EXIF: stored a quarter turn off
PART = 4 * BATCH  # rows that are encoded before they are packed


@dataclass(frozen=True)
class Sample:
    """A layout as it is trained on: its frame, and the names and boxes that are left there."""

    layout: Layout
    frame: Frame
    names: list[str]
    boxes: list[Box]


def unreadable(layout: Layout, error: Exception) -> UserError:
    return UserError(
        f"cannot read the image: {error}",
        where=f"layout {layout.id or layout.caption!r}: {layout.image_path}",
        remedy="run the download stage again, or drop the row",
    )


def size_of(layout: Layout) -> Size:
    """Height and width of the layout's picture, upright, from the head of its file."""
    try:
        with Image.open(layout.image_path) as image:
            width, height = image.size
            return (width, height) if image.getexif().get(ORIENTATION) in SIDEWAYS else (height, width)
    except (OSError, Image.DecompressionBombError) as error:
        raise unreadable(layout, error) from error


def load_image(layout: Layout, frame: Frame) -> np.ndarray:
    """The layout's picture in its frame, (H, W, 3) uint8 RGB."""
    try:
        with Image.open(layout.image_path) as image:
            return frame.pixels(ImageOps.exif_transpose(image))  # as the annotator saw it
    except (OSError, Image.DecompressionBombError) as error:
        raise unreadable(layout, error) from error


def samples(cfg: Config, encoder: Encoder, rows: Iterable[Layout], counts: Counter[str]) -> Iterator[Sample]:
    """The rows that have boxes, in their frames; `counts` tells what was left out."""
    among = encoder.buckets if cfg.cache.buckets == "aspect" else []
    for row in rows:
        counts["layouts"] += 1
        frame = buckets.frame(size_of(row), among) if row.boxes and among else buckets.square(encoder.base.side)
        names, boxes, over = buckets.kept(frame, row.names, row.boxes, cfg.cache.visible, cfg.adapter.slots)
        counts["boxes"] += len(row.boxes)
        counts["boxes_beyond_slots"] += over
        counts["boxes_cropped_away"] += len(row.boxes) - len(boxes) - over
        counts["layouts_beyond_slots"] += over > 0
        counts["without_boxes"] += not row.boxes
        counts["cropped_away"] += bool(row.boxes) and not boxes
        counts["used"] += bool(boxes)
        if boxes:
            yield Sample(row, frame, names, boxes)


def grouped(found: Iterable[Sample]) -> Iterator[list[Sample]]:
    """Samples of one bucket each, as many as a shard holds, in their order; what is left over comes at the end."""
    waiting: dict[Size, list[Sample]] = {}
    for sample in found:
        group = waiting.setdefault(sample.frame.target, [])
        group.append(sample)
        if len(group) == cache_shards.ROWS:
            yield waiting.pop(sample.frame.target)
    yield from (waiting[size] for size in sorted(waiting))


def encoded(encoder: Encoder, group: Sequence[Sample], slots: int, pool: ThreadPoolExecutor) -> Iterator[Rows]:
    """The group's rows in parts, without phrases; the pictures of the next part are read meanwhile."""
    parts = [group[i : i + PART] for i in range(0, len(group), PART)]

    def begin(part: Sequence[Sample]) -> list[Future[np.ndarray]]:
        return [pool.submit(load_image, sample.layout, sample.frame) for sample in part]

    coming = begin(parts[0])
    for part, after in zip(parts, [*parts[1:], []], strict=True):
        pictures, coming = np.stack([picture.result() for picture in coming]), begin(after)
        states, pooled = encoder.captions([sample.layout.caption for sample in part])
        boxes, real = pad([sample.boxes for sample in part], slots)
        time_ids = torch.tensor([sample.frame.conditions for sample in part], dtype=torch.float32)
        yield Rows(encoder.latents(pictures), states, pooled, time_ids, boxes, real, torch.zeros(0))


def made_from(group: Sequence[Sample]) -> str:
    """SHA-256 of what a shard is made from, but for the pictures' own bytes."""
    sources = [[sample.layout.to_row(), sample.frame.conditions, sample.names, sample.boxes] for sample in group]
    return hashlib.sha256(json.dumps(sources, sort_keys=True, default=str).encode()).hexdigest()


@torch.no_grad()
def build(cfg: Config, base: Path, rows: Iterable[Layout], out: Path, total: int = 0) -> dict[str, int]:
    """Encode `rows`, some `total` of them, with the base pipeline and write the cache; returns the counts."""
    training.setup(cfg.run.threads, cfg.run.device)
    encoder = Encoder(base, cfg.run.device, training.TYPES[cfg.run.precision])
    slots, counts = cfg.adapter.slots, Counter[str]()
    identity = provenance.fingerprint(
        cfg.run.threads, cfg.run.device, cfg.run.precision, arithmetic.current(), dataclasses.asdict(cfg.cache), slots,
        encoder.base.sha256, code=["gillnext.adapter.encode"],
    )  # fmt: skip
    out.parent.mkdir(parents=True, exist_ok=True)
    writer = Writer(out.with_name(out.name + ".work"), identity, cfg.cache.precision, encoder.phrase)
    with ThreadPoolExecutor(max(cfg.run.threads, 1)) as pool, Progress("cache", total, "layouts") as progress:
        for group in grouped(samples(cfg, encoder, rows, counts)):
            digest = made_from(group)
            if not writer.taken(digest):
                names, texts = [sample.names for sample in group], [sample.layout.caption for sample in group]
                parts = encoded(encoder, group, slots, pool)
                writer.add(parts, names, texts, digest, group[0].frame.target, slots)
            progress.step(len(group))
    if not counts["used"]:
        raise UserError("no layout with a box", where=str(out), remedy="look at the counts of the annotate stage")
    about = {"base": dataclasses.asdict(encoder.base), "slots": slots, "counts": dict(counts)}
    writer.finish(out, about, *encoder.nothing())
    return dict(counts)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("--base", type=Path, required=True, help="folder of the base, of Kolors' or SDXL's class")
    parser.add_argument("--layouts", type=Path, nargs="+", required=True, help="annotated layouts, JSONL")
    add_out(parser, "folder of the cache")


def main(args: argparse.Namespace) -> None:
    rows = (
        layouts.from_row(row, f"{path}, line {n}") for path in args.layouts for n, row in files.numbered_jsonl(path)
    )
    total = sum(1 for path in args.layouts for _ in files.numbered_lines(path))
    counts = build(config(args), args.base, rows, args.out, total)
    cut = f"; {counts['layouts_beyond_slots']} had more boxes than slots" * bool(counts["layouts_beyond_slots"])
    print(f"{counts['used']} of {counts['layouts']} layouts encoded{cut}")
