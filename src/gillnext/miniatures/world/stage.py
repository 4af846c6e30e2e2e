"""Write Mini-Wukong: caption shards in Wukong's form, and the truth about every row.

    gillnext world --config config.yaml --out results/demo/world

Writes OUT/shards/wukong_100m_{i}.csv (url, caption), OUT/truth/{i}.parquet (row, url, caption, label, kind,
scene, fault, relations, absent) and OUT/world.json. The same configuration gives the same bytes. No picture is drawn
here: the server draws a row's scene when it is asked for.
"""

from __future__ import annotations

import argparse
import collections
import csv
import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from gillnext.config.arguments import add_config, add_out
from gillnext.config.arguments import config as read_config
from gillnext.config.data import Faults, World
from gillnext.config.model import Config
from gillnext.miniatures.world import captions
from gillnext.miniatures.world.noise import noise_family
from gillnext.miniatures.world.objects import Objects, of
from gillnext.release import bounds, shard_name
from gillnext.runtime import files, seeds
from gillnext.runtime.errors import UserError
from gillnext.runtime.progress import Progress

ABSENT_SHARE = 0.03  # spatial captions that name one object more than the picture shows
LABELS = ("none", "strong", "weak")
STREAM = "world"
OBJECTS = ("objects", "size")  # settings that world.json tells where they are not the drawn world's


@dataclass(frozen=True)
class Row:
    """One row of a shard with all that is known of it; the truth table's columns."""

    row: int
    url: str
    caption: str
    label: str
    kind: str
    scene: int
    fault: str
    relations: str
    absent: str


def check(world: World) -> None:
    """Refuse settings that make no world; errors name the key."""
    faults = world.faults
    rot = sum(vars(faults).values()) - faults.duplicate
    problems = {
        "world.shards": "needs 1 shard or more, and no more shards than rows"
        if not 0 < world.shards <= world.rows
        else "",
        "world.parts": "needs 1 part or more, and no more parts than shards"
        if not 0 < world.parts <= world.shards
        else "",
        "world.strong_share": "strong_share and weak_share add up to more than 1"
        if world.strong_share + world.weak_share > 1
        else "",
        "world.faults": "the shares of faults add up to more than 1" if rot > 1 or faults.duplicate > 1 else "",
    }
    for key, problem in problems.items():
        if problem:
            raise UserError(problem, where=key, remedy=f"change {key} in the configuration")


def row_labels(config: Config) -> np.ndarray:
    """The label of every row, as index into `LABELS`: exact shares in random order, (rows,)."""
    world = config.world
    labels = np.zeros(world.rows, np.int8)
    strong, weak = round(world.strong_share * world.rows), round(world.weak_share * world.rows)
    labels[:strong], labels[strong : strong + weak] = 1, 2
    return seeds.rng("world-labels", config.run.seed).permutation(labels)


def row_faults(config: Config) -> tuple[np.ndarray, list[str]]:
    """The fault of every row, (rows,), as index into the returned names ("" first, "duplicate" last)."""
    names = [f.name for f in dataclasses.fields(Faults) if f.name != "duplicate"]
    edges = np.cumsum([getattr(config.world.faults, name) for name in names])
    draws = seeds.rng("world-faults", config.run.seed).random((2, config.world.rows))
    drawn = np.searchsorted(edges, draws[0], side="right")
    faults = np.where(drawn < len(names), drawn + 1, 0)
    repeat = draws[1] < config.world.faults.duplicate
    return np.where(repeat, len(names) + 1, faults), ["", *names, "duplicate"]


def url(config: Config, k: int) -> str:
    """The address of row k: opaque, on the reserved host; some carry a query with a comma."""
    token = seeds.key("world-url", config.run.seed, k)
    query = ("", "", "", "?w=640,h=480", "?size=large&v=2")[token % 5]
    return f"http://{config.world.host}/{2008 + token % 12}/{1 + token // 12 % 12:02d}/{token:016x}.jpg{query}"


def spatial_row(
    seed: int, k: int, rows: int, label: str, scene: int | None, objects: Objects
) -> tuple[str, str, int, str, str]:
    """(kind, caption, scene, relations, absent) of a spatial row; `scene` fixes the scene (a duplicate's)."""
    rng = seeds.rng("world-caption", seed, k)
    facts: list[captions.Relation] = []
    while True:
        # Scenes that support no strong caption are passed over: row k has scene k, k + rows, k + 2·rows, …
        index = k if scene is None else scene
        content = objects.sample(seed, STREAM, index)
        if label == "weak":
            kind, caption = "weak", captions.weak(content, rng)
            break
        if stated := captions.spatial_family(content, rng, "world"):
            kind, caption, facts = stated
            break
        k += rows
    missing = ""
    if rng.random() < ABSENT_SHARE:
        caption, missing = captions.absent(caption, content, rng, kinds=objects.kinds)
    return kind, caption, index, json.dumps([fact.to_row() for fact in facts]), missing


def shard_rows(
    config: Config, shard: int, labels: np.ndarray, faults: np.ndarray, names: list[str], objects: Objects
) -> list[Row]:
    """All rows of a shard. A duplicate repeats the scene of an earlier row of its shard and label."""
    seed, total = config.run.seed, config.world.rows
    start, end = bounds(total, config.world.shards, shard)
    earlier: dict[str, list[int]] = {label: [] for label in LABELS}
    rows = []
    for k in range(start, end):
        label, fault = LABELS[labels[k]], names[faults[k]]
        scene = None
        if fault == "duplicate":
            scenes = earlier[label]
            scene = scenes[seeds.key("world-duplicate", seed, k) % len(scenes)] if scenes else None
            fault = fault if scenes else ""
        if label == "none":
            kind, caption = noise_family(seeds.rng("world-caption", seed, k), "world", objects.kinds)
            written = (kind, caption, k if scene is None else scene, "[]", "")
        else:
            written = spatial_row(seed, k, total, label, scene, objects)
        if fault != "duplicate":
            earlier[label].append(written[2])
        kind, caption, scene, relations, missing = written
        rows.append(Row(k - start, url(config, k), caption, label, kind, scene, fault, relations, missing))
    return rows


def write_shard(path: Path, rows: list[Row]) -> None:
    """CSV with header url,caption; fields are quoted where they hold a comma, a quote or a line break."""
    with open(path, "w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["url", "caption"])
        writer.writerows((row.url, row.caption) for row in rows)


def write_truth(path: Path, rows: list[Row]) -> None:
    columns = {f.name: [getattr(row, f.name) for row in rows] for f in dataclasses.fields(Row)}
    schema = {name: pl.Int64 if name in ("row", "scene") else pl.String for name in columns}
    pl.DataFrame(columns, schema=schema).write_parquet(path, compression="zstd", row_group_size=1 << 20)


def made_of(world: World) -> dict[str, Any]:
    """What world.json says of the settings; of cut-outs their hash too, as pictures are made of them later."""
    plain = World()
    same = [key for key in OBJECTS if getattr(world, key) == getattr(plain, key)]
    found = {key: value for key, value in dataclasses.asdict(world).items() if key not in same}
    return found | ({"objects_sha256": files.sha256(Path(world.objects))} if "objects" in found else {})


def make(config: Config, out: Path) -> None:
    """Write shards and truth into `out`, each folder whole or not at all (replacing an older one), then world.json."""
    check(config.world)
    objects = of(config)
    labels, (faults, names) = row_labels(config), row_faults(config)
    counts: dict[str, collections.Counter[str]] = {key: collections.Counter() for key in ("label", "kind", "fault")}
    total, absent = config.world.rows, 0
    with (
        files.atomic(out / "shards") as tables,
        files.atomic(out / "truth") as truth,
        Progress("world", total, "rows") as progress,
    ):
        tables.mkdir()
        truth.mkdir()
        for shard in range(config.world.shards):
            rows = shard_rows(config, shard, labels, faults, names, objects)
            write_shard(tables / shard_name(shard), rows)
            write_truth(truth / f"{shard}.parquet", rows)
            for key, counter in counts.items():
                counter.update(getattr(row, key) or "ok" for row in rows)
            absent += sum(bool(row.absent) for row in rows)
            progress.step(len(rows))
        places = sorted((*tables.iterdir(), *truth.iterdir()))
        hashes = {f"{path.parent.name}/{path.name}": files.sha256(path) for path in places}
    manifest = {"seed": config.run.seed, "world": made_of(config.world)}
    manifest |= {"counts": counts | {"absent": absent}, "sha256": hashes}
    files.write_json(out / "world.json", manifest)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    add_out(parser, "folder of the world")


def main(args: argparse.Namespace) -> None:
    make(read_config(args), args.out)
