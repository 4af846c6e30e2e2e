"""Held-out layouts: validation and test (captions name objects, not places), and spatial captions.

    gillnext heldout --config config.yaml --split test --count 500 --out results/demo/world/heldout/test.jsonl

Scenes come from streams "val", "test" and "relations-test", which nothing is trained or tuned on but "val" (the
planner was tuned on "relations" and "planner-dev"). Rows carry their stream and scene index, so the real picture of a
row is that of `sample(seed, row["stream"], row["scene"])` of the world's objects.
"""

from __future__ import annotations

import argparse
import itertools
from typing import Any

from gillnext import layouts
from gillnext.config.arguments import add_config, add_out
from gillnext.config.arguments import config as read_config
from gillnext.layouts import Layout
from gillnext.miniatures.world import captions
from gillnext.miniatures.world.objects import DRAWN, Objects, of
from gillnext.miniatures.world.scenes import Scene
from gillnext.runtime import seeds

SPLITS = ("val", "test", "relations")


def _layout(stream: str, index: int, number: int, scene: Scene, caption: str, **extra: Any) -> Layout:
    boxes = tuple(thing.box for thing in scene.objects)
    extra |= {"stream": stream, "scene": index}
    return Layout(caption, scene.names, boxes, id=f"{stream}-{number:05d}", extra=extra)


def naming(seed: int, stream: str, count: int, objects: Objects = DRAWN) -> list[Layout]:
    """The first `count` scenes of a stream with captions that only name objects (those of `world.corpus`)."""
    found = []
    for i in range(count):
        scene = objects.sample(seed, stream, i)
        caption = captions.naming(scene, seeds.rng("caption", seed, stream, i))
        found.append(_layout(stream, i, i, scene, caption))
    return found


def relations(seed: int, count: int, stream: str = "relations-test", objects: Objects = DRAWN) -> list[Layout]:
    """`count` scenes with a strongly spatial caption.

    Extra "relations": [[subject, relation, reference or null], …], by index of the row's objects.
    """
    found: list[Layout] = []
    for i in itertools.count():
        if len(found) == count:
            return found
        scene = objects.sample(seed, stream, i)
        if stated := captions.spatial_family(scene, seeds.rng("caption", seed, stream, i), "world"):
            kind, caption, facts = stated
            rows = [fact.to_row() for fact in facts]
            found.append(_layout(stream, i, len(found), scene, caption, relations=rows, kind=kind))
    raise AssertionError("unreachable")


def make(seed: int, split: str, count: int, objects: Objects = DRAWN) -> list[Layout]:
    """`count` layouts of one of `SPLITS`."""
    if split == "relations":
        return relations(seed, count, objects=objects)
    return naming(seed, split, count, objects)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("--split", choices=SPLITS, required=True, help="which of the sets")
    parser.add_argument("--count", type=int, required=True, help="how many layouts")
    add_out(parser, "layouts, JSON lines")


def main(args: argparse.Namespace) -> None:
    config = read_config(args)
    layouts.write(args.out, make(config.run.seed, args.split, args.count, of(config)))
