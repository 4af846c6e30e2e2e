"""Write edits of the drawn world that a text alone asks for, with the truth about what is to change.

    gillnext edits --config config.yaml --out results/demo/supplement/regions/edits

Writes OUT/{val,test}/images/*.png, OUT/SPLIT/images.json ({file: [source prompt, editing prompt]}, what `gillnext regions`
reads), OUT/SPLIT/truth.jsonl and OUT/edits.json. A third of the edits replaces an object by one of another kind, a third
gives one its other colour, a third adds one to a picture that lacks it. A row of the truth has the file, the kind of edit,
`box` (xyxy in [0, 1], of what changes), `before` and `after` (nouns; before is empty where one is added), `colours`
(RGB before and after, of recolourings) and `others`, the objects that stay.

Edit `i` of a split is a function of its names alone; its scene is of a stream that nothing is trained on.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from PIL import Image

from gillnext.config.arguments import add_config, add_out
from gillnext.config.arguments import config as read_config
from gillnext.config.model import Config
from gillnext.layouts import Box
from gillnext.miniatures.world import captions, colours
from gillnext.miniatures.world.objects import Objects, of
from gillnext.miniatures.world.scenes import Scene, SceneObject, Thing
from gillnext.runtime import files, provenance, seeds
from gillnext.runtime.errors import UserError
from gillnext.runtime.progress import Progress

KINDS = ("replace", "recolour", "add")
SCENES = 1_000  # that are looked at for one edit


class Edit(NamedTuple):
    """A source scene, its prompts, and what is to change."""

    kind: str
    scene: Scene
    prompts: tuple[str, str]
    box: Box
    before: str
    after: str
    colours: tuple[tuple[float, ...], ...]
    others: tuple[Thing, ...]


def replacement(scene: Scene, rng: np.random.Generator, objects: Objects) -> Edit:
    """An object becomes one of a kind that is not there."""
    thing = scene.objects[int(rng.integers(len(scene.objects)))]
    free = [kind for kind in objects.kinds if kind.name not in scene.names]
    new = free[int(rng.integers(len(free)))]
    others = tuple(one for one in scene.objects if one is not thing)
    return Edit(
        "replace", scene, (thing.kind.phrase, new.phrase), thing.box, thing.kind.name, new.name, (), others
    )  # fmt: skip


def recolouring(scene: Scene, rng: np.random.Generator, objects: Objects) -> Edit | None:
    """An object gets the other colour of its kind; None where no colour of the scene has a name."""
    named = [one for one in scene.objects if colours.index_of(one) is not None]
    if not named:
        return None
    thing = cast(SceneObject, named[int(rng.integers(len(named)))])
    index = cast(int, colours.index_of(thing))
    words, palette = colours.NAMES[thing.kind.key], thing.kind.palette
    prompts = (colours.phrase(thing.kind, words[index]), colours.phrase(thing.kind, words[1 - index]))
    others = tuple(one for one in scene.objects if one is not thing)
    name, pair = thing.kind.name, (palette[index], palette[1 - index])
    return Edit("recolour", scene, prompts, thing.box, name, name, pair, others)


def addition(scene: Scene, rng: np.random.Generator, objects: Objects) -> Edit | None:
    """An object comes to the others of a scene; None where there are no others."""
    if len(scene.objects) < 2:
        return None
    order = rng.permutation(len(scene.objects))
    new, beside = (scene.objects[int(i)] for i in order[:2])
    left = tuple(one for one in scene.objects if one is not new)
    prompts = (beside.kind.phrase, captions.join([beside.kind.phrase, new.kind.phrase]))
    return Edit("add", dataclasses.replace(scene, objects=left), prompts, new.box, "", new.kind.name, (), left)


def make(seed: int, split: str, index: int, objects: Objects) -> Edit:
    """Edit `index` of a split: of the first of its own scenes that allows its kind."""
    kind = KINDS[index % len(KINDS)]
    for k in range(SCENES):
        scene = objects.sample(seed, f"edits-{split}", index * SCENES + k)
        rng = seeds.rng("edits", split, seed, index, k)
        tell = {"replace": replacement, "recolour": recolouring, "add": addition}[kind]
        if edit := tell(scene, rng, objects):
            return edit
    remedy = "a world whose objects have colours with names, and scenes of two objects and more"
    raise UserError(f"none of {SCENES} scenes allows the edit {kind}", where=f"{split}, edit {index}", remedy=remedy)


def row_of(name: str, edit: Edit) -> dict[str, Any]:
    """A row of truth.jsonl."""
    others = [{"name": one.kind.name, "bbox": list(one.box)} for one in edit.others]
    return {
        "file": name, "kind": edit.kind, "box": list(edit.box), "before": edit.before, "after": edit.after,
        "colours": [list(one) for one in edit.colours], "others": others,
    }  # fmt: skip


def write(folder: Path, edits: Sequence[Edit], objects: Objects) -> None:
    """images/, images.json and truth.jsonl of a split."""
    (folder / "images").mkdir(parents=True)
    prompts, rows = dict[str, list[str]](), []
    with Progress(f"edits, {folder.name}", len(edits), "edits") as progress:
        for i, edit in enumerate(edits):
            name = f"{edit.kind}-{i:05d}.png"
            Image.fromarray(objects.render(edit.scene)).save(folder / "images" / name)
            prompts[name] = list(edit.prompts)
            rows.append(row_of(name, edit))
            progress.step()
    files.write_json(folder / "images.json", prompts)
    files.write_jsonl(folder / "truth.jsonl", rows)


def run(config: Config, out: Path) -> None:
    """Write both splits, whole or not at all."""
    objects, seed = of(config), config.run.seed
    counts = {"val": config.regions.edits.val, "test": config.regions.edits.test}
    with files.atomic(out) as folder:
        kinds = dict[str, dict[str, int]]()
        for split, count in counts.items():
            edits = [make(seed, split, i, objects) for i in range(count)]
            write(folder / split, edits, objects)
            kinds[split] = dict(Counter(edit.kind for edit in edits))
        files.write_json(folder / "edits.json", {"seed": seed, "kinds": kinds, "provenance": provenance.stamp()})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    add_out(parser, "folder of the edits")


def main(args: argparse.Namespace) -> None:
    run(read_config(args), args.out)
