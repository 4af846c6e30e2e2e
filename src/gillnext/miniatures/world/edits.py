"""Write edits of the drawn world that a text alone asks for, with the truth about what is to change.

    gillnext edits --config config.yaml --out results/demo/supplement/regions/edits

Writes OUT/{val,test}/images/*.png, OUT/SPLIT/images.json ({file: [source prompt, editing prompt]}, what
`gillnext regions` reads), OUT/SPLIT/truth.jsonl and OUT/edits.json. A third of the edits replaces an object by one of
another kind, a third gives one its other colour, a third adds one to a picture that lacks it. A row of the truth has
the file, the kind of edit, `box` (xyxy in [0, 1], of what changes), `before` and `after` (nouns; before is empty where
one is added), `colours` (RGB before and after, of recolourings) and `others`, the objects that stay.

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
from gillnext.miniatures.world.classes import CLASSES
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


def prompts(
    scene: Scene, rng: np.random.Generator, before: dict[int, str], after: dict[int, str], left_out: int | None = None
) -> tuple[str, str]:
    """A caption that names all objects, in random order, and one of what shall be there: `before` and `after` are other
    phrases of some objects, by their place in the scene; the first caption lacks object `left_out`.
    """
    order = [int(i) for i in rng.permutation(len(scene.objects))]
    plain = {i: one.kind.phrase for i, one in enumerate(scene.objects)}
    there = [(plain | before)[i] for i in order if i != left_out]
    return captions.join(there), captions.join([(plain | after)[i] for i in order])


def without(scene: Scene, index: int) -> tuple[Thing, ...]:
    return tuple(one for i, one in enumerate(scene.objects) if i != index)


def replacement(scene: Scene, rng: np.random.Generator, objects: Objects) -> Edit:
    """An object becomes one of a kind that is not there."""
    k = int(rng.integers(len(scene.objects)))
    free = [kind for kind in objects.kinds if kind.name not in scene.names]
    thing, new = scene.objects[k], free[int(rng.integers(len(free)))]
    asked = prompts(scene, rng, {}, {k: new.phrase})
    return Edit("replace", scene, asked, thing.box, thing.kind.name, new.name, (), without(scene, k))


def recolouring(scene: Scene, rng: np.random.Generator, objects: Objects) -> Edit | None:
    """An object gets the other colour of its kind; None where no colour of the scene has a name."""
    named = [i for i, one in enumerate(scene.objects) if colours.index_of(one) is not None]
    if not named:
        return None
    k = named[int(rng.integers(len(named)))]
    thing = cast(SceneObject, scene.objects[k])
    index = cast(int, colours.index_of(thing))
    words, palette = colours.NAMES[thing.kind.key], thing.kind.palette
    old, new = (colours.phrase(thing.kind, words[i]) for i in (index, 1 - index))
    asked, pair = prompts(scene, rng, {k: old}, {k: new}), (palette[index], palette[1 - index])
    return Edit("recolour", scene, asked, thing.box, thing.kind.name, thing.kind.name, pair, without(scene, k))


def addition(scene: Scene, rng: np.random.Generator, objects: Objects) -> Edit | None:
    """An object comes to the others of a scene; None where there are no others."""
    if len(scene.objects) < 2:
        return None
    k = int(rng.integers(len(scene.objects)))
    asked, new, left = prompts(scene, rng, {}, {}, k), scene.objects[k], without(scene, k)
    return Edit("add", dataclasses.replace(scene, objects=left), asked, new.box, "", new.kind.name, (), left)


def tell(kind: str, scene: Scene, rng: np.random.Generator, objects: Objects) -> Edit | None:
    """An edit of a kind, of a scene; None where the scene does not allow it."""
    make = {"replace": replacement, "recolour": recolouring, "add": addition}[kind]
    return make(scene, rng, objects)


def result(edit: Edit, *names: str | int) -> Scene:
    """The scene that an edit asks for; `names` seed the new object's shape and, where it is not told, its colour."""
    rng, (kind,) = seeds.rng("edited", *names), [one for one in CLASSES if one.name == edit.after]
    colour = edit.colours[1] if edit.colours else kind.palette[int(rng.integers(len(kind.palette)))]
    shade = np.clip(np.asarray(colour) + rng.uniform(-0.06, 0.06, 3), 0, 1)
    red, green, blue = map(float, shade)
    new = SceneObject(kind, edit.box, (red, green, blue), int(rng.integers(2**31)))
    return dataclasses.replace(edit.scene, objects=(*edit.others, new))


def make(seed: int, split: str, index: int, objects: Objects) -> Edit:
    """Edit `index` of a split: of the first of its own scenes that allows its kind."""
    kind = KINDS[index % len(KINDS)]
    for k in range(SCENES):
        scene = objects.sample(seed, f"edits-{split}", index * SCENES + k)
        rng = seeds.rng("edits", split, seed, index, k)
        if edit := tell(kind, scene, rng, objects):
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
