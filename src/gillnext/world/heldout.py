"""Held-out layouts: validation and test (captions name objects, not places), and spatial captions.

Scenes come from streams "val", "test" and "relations-test", which nothing is trained or tuned on but "val" (the
planner was tuned on "relations" and "planner-dev"). Rows carry their stream and scene index, so the real picture of a
row is `scenes.render(scenes.sample(seed, row["stream"], row["scene"]))`.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

from gillnext import layouts
from gillnext.config.model import Config
from gillnext.layouts import Layout
from gillnext.runtime import seeds
from gillnext.world import captions, scenes
from gillnext.world.scenes import Scene

VALIDATION = 64  # layouts that choices are made on


def _layout(stream: str, index: int, number: int, scene: Scene, caption: str, **extra: Any) -> Layout:
    boxes = tuple(thing.box for thing in scene.objects)
    extra |= {"stream": stream, "scene": index}
    return Layout(caption, scene.names, boxes, id=f"{stream}-{number:05d}", extra=extra)


def naming(seed: int, stream: str, count: int) -> list[Layout]:
    """The first `count` scenes of a stream with captions that only name objects (those of `world.corpus`)."""
    found = []
    for i in range(count):
        scene = scenes.sample(seed, stream, i)
        caption = captions.naming(scene, seeds.rng("caption", seed, stream, i))
        found.append(_layout(stream, i, i, scene, caption))
    return found


def relations(seed: int, count: int, stream: str = "relations-test") -> list[Layout]:
    """`count` scenes with a strongly spatial caption.

    Extra "relations": [[subject, relation, reference or null], …], by index of the row's objects.
    """
    found: list[Layout] = []
    for i in itertools.count():
        if len(found) == count:
            return found
        scene = scenes.sample(seed, stream, i)
        if stated := captions.spatial_family(scene, seeds.rng("caption", seed, stream, i), "world"):
            kind, caption, facts = stated
            rows = [fact.to_row() for fact in facts]
            found.append(_layout(stream, i, len(found), scene, caption, relations=rows, kind=kind))
    raise AssertionError("unreachable")


def swapped(rows: list[Layout]) -> list[Layout]:
    """The layouts of two objects or more with each name moved to the next box; caption and boxes stay."""
    several = [row for row in rows if len(row.names) > 1]
    return [replace(row, names=(*row.names[1:], row.names[0]), id=row.id.replace("test", "swapped")) for row in several]


def write(config: Config, folder: Path) -> dict[str, int]:
    """Write {val,test,relations,swapped}.jsonl into `folder`; returns how many layouts each has."""
    seed = config.run.seed
    sets = {
        "val": naming(seed, "val", VALIDATION),
        "test": naming(seed, "test", config.sample.test),
        "relations": relations(seed, config.sample.relations),
    }
    sets["swapped"] = swapped(sets["test"])
    for name, rows in sets.items():
        layouts.write(folder / f"{name}.jsonl", rows)
    return {name: len(rows) for name, rows in sets.items()}
