"""Write the conversations of end-to-end GILL: captioned pictures, stories, dialogues, and layouts for their planner.

    gillnext conversations --config config.yaml --out results/demo/supplement/conversations

Writes OUT/{train,val,test,gallery}.jsonl (`gillnext.conversations`), OUT/pictures/*.png, OUT/conversations.json and
OUT/layouts/{train,val,test}.jsonl. A layout's caption is the text of a conversation: all of a dialogue, of a story its
first one to five sentences. It is `complete`: what its text names and it lacks is not there, or has left.

Conversation `row` of a kind and split is a function of its names alone. Its scene is the first, of a thousand of its
own, that can be told so. Splits share no scene: those of training are of streams of their own, those of validation and
test of the world's streams "val" and "test" (held-out cut-outs, where there are some), far behind the held-out layouts.
"""

from __future__ import annotations

import argparse
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from gillnext import conversations, layouts
from gillnext.config.arguments import add_config, add_out
from gillnext.config.arguments import config as read_config
from gillnext.config.model import Config
from gillnext.conversations import Conversation, Turn, text_of
from gillnext.layouts import Layout
from gillnext.miniatures.world import captions, dialogues, stories
from gillnext.miniatures.world.objects import Objects, of
from gillnext.miniatures.world.scenes import Scene
from gillnext.miniatures.world.telling import Passage
from gillnext.runtime import files, provenance, seeds
from gillnext.runtime.errors import UserError
from gillnext.runtime.progress import Progress

Kind = Literal["caption", "story", "dialogue"]
Made = tuple[Conversation, dict[str, Scene]]  # and the scene of each of its pictures

SCENES = 1_000  # that are looked at for one conversation
FAR = {"caption": 10**9, "story": 2 * 10**9, "dialogue": 3 * 10**9}  # the first scene of each kind's, in its stream
FOUR = 0.5  # share of stories with four objects; the others have three
NAMING = 0.5  # share of captioned pictures whose caption tells no place
COUNTS = {"dialogue": ((2, 3, 4), (0.25, 0.45, 0.30))}  # objects of a dialogue's scene, and their shares


def stream(kind: Kind, split: str) -> str:
    """The world's stream of scenes that a kind and split are made of."""
    return {"val": "val", "test": "test", "gallery": "test"}.get(split, f"{kind}-{split}")


def _first(seed: int, kind: Kind, split: str, row: int, objects: Objects, tell: Callable[..., Any]) -> Any:
    """What `tell(scene, rng)` says of the first scene of a row that it can tell."""
    for k in range(SCENES):
        scene = objects.sample(seed, stream(kind, split), FAR[kind] + row * SCENES + k)
        if found := tell(scene, seeds.rng(kind, split, seed, row, k)):
            return found
    raise UserError(
        f"none of {SCENES} scenes makes a {kind}",
        where=f"{split}, row {row}",
        remedy="a world with four kinds of objects or more, of which three find room in a picture",
    )


def _story(name: str, seed: int, split: str, row: int, objects: Objects) -> Made:
    wanted = 4 if seeds.rng("story-objects", split, seed, row).random() < FOUR else 3
    passages: list[Passage] = _first(
        seed, "story", split, row, objects, lambda s, r: stories.tell(s, r) if len(s.objects) == wanted else None
    )
    pictures = [f"pictures/{name}-{k}.png" for k in range(len(passages))]
    turns = tuple(part.turn(picture) for part, picture in zip(passages, pictures, strict=True))
    scenes = {picture: part.scene for part, picture in zip(passages, pictures, strict=True)}
    return Conversation(name, "story", turns), scenes


def _dialogue(name: str, seed: int, split: str, row: int, objects: Objects) -> Made:
    counts, shares = COUNTS["dialogue"]
    wanted = int(seeds.rng("dialogue-objects", split, seed, row).choice(counts, p=shares))

    def tell(scene: Scene, rng: np.random.Generator) -> tuple[list[str], Passage] | None:
        return dialogues.tell(scene, objects.kinds, rng) if len(scene.objects) == wanted else None

    texts, last = _first(seed, "dialogue", split, row, objects, tell)
    picture = f"pictures/{name}.png"
    return Conversation(name, "dialogue", (*map(Turn, texts), last.turn(picture))), {picture: last.scene}


def _caption(name: str, seed: int, split: str, row: int, objects: Objects) -> Made:
    naming = seeds.rng("caption-kind", split, seed, row).random() < NAMING

    def tell(scene: Scene, rng: np.random.Generator) -> tuple[Scene, str, list[captions.Relation]] | None:
        if naming:
            return scene, captions.naming(scene, rng), []
        stated = captions.spatial(scene, rng, "world")
        return (scene, *stated) if stated else None

    scene, text, facts = _first(seed, "caption", split, row, objects, tell)
    picture = f"pictures/{name}.png"
    layout = Layout(text, scene.names, tuple(thing.box for thing in scene.objects))
    relations = tuple((fact.subject, fact.relation, fact.reference) for fact in facts)
    return Conversation(name, "caption", (Turn(text, picture, layout, relations),)), {picture: scene}


def make(seed: int, kind: Kind, split: str, row: int, objects: Objects) -> Made:
    """Conversation `row` of a kind and split, with the scenes of its pictures."""
    tell = {"story": _story, "dialogue": _dialogue, "caption": _caption}[kind]
    return tell(f"{kind}-{split}-{row:05d}", seed, split, row, objects)


def layout_of(conversation: Conversation, seed: int) -> Layout:
    """What a planner learns of a conversation: its text, or the first turns of a story's, and what is there then."""
    turns = conversation.turns
    if conversation.kind == "story":
        turns = turns[: int(seeds.rng("layout-turns", seed, conversation.id).integers(1, len(turns) + 1))]
    shown = turns[-1].layout
    if shown is None:
        raise ValueError(f"{conversation.id}: the last turn shows nothing")
    extra = {"relations": [list(relation) for relation in turns[-1].relations], "complete": True}
    return Layout(text_of(turns), shown.names, shown.boxes, conversation.id, extra=extra)


def splits(config: Config) -> dict[str, dict[Kind, int]]:
    """How many conversations of each kind each split has."""
    sizes = config.gill.conversations
    return {
        "train": {"caption": sizes.captions, "story": sizes.stories, "dialogue": sizes.dialogues},
        "val": {"story": sizes.val, "dialogue": sizes.val},
        "test": {"story": sizes.test, "dialogue": sizes.test},
        "gallery": {"caption": sizes.gallery},
    }


def repeated(test: list[Conversation], train: list[Conversation]) -> dict[str, float]:
    """The share of test texts that are a training text, whole and turn by turn."""
    shares = {}
    for name, parts in (("texts", lambda c: [text_of(c.turns)]), ("turns", lambda c: [turn.text for turn in c.turns])):
        known = {part for row in train for part in parts(row)}
        asked = list(itertools.chain.from_iterable(map(parts, test)))
        shares[name] = sum(part in known for part in asked) / max(len(asked), 1)
    return shares


def _rows(config: Config, split: str, objects: Objects, out: Path) -> Iterator[Conversation]:
    """The split's conversations, with their pictures written."""
    kinds = splits(config)[split]
    with Progress(f"conversations, {split}", sum(kinds.values()), "conversations") as progress:
        for kind, count in kinds.items():
            for row in range(count):
                conversation, scenes = make(config.run.seed, kind, split, row, objects)
                for path, scene in scenes.items():
                    Image.fromarray(objects.render(scene)).save(out / path)
                yield conversation
                progress.step()


def run(config: Config, out: Path) -> None:
    """Write all of it, whole or not at all."""
    objects, made = of(config), dict[str, list[Conversation]]()
    with files.atomic(out) as folder:
        (folder / "pictures").mkdir(parents=True)
        for split in splits(config):
            made[split] = list(_rows(config, split, objects, folder))
            conversations.write(folder / f"{split}.jsonl", made[split])
            talks = [row for row in made[split] if row.kind != "caption"]
            if talks:
                layouts.write(folder / "layouts" / f"{split}.jsonl", (layout_of(row, config.run.seed) for row in talks))
        report = {
            "seed": config.run.seed,
            "objects": config.world.objects,
            "counts": {split: dict(Counter(row.kind for row in rows)) for split, rows in made.items()},
            "pictures": sum(bool(turn.picture) for rows in made.values() for row in rows for turn in row.turns),
            "in_train": {split: repeated(made[split], made["train"]) for split in made if split != "train"},
            "templates": "sentences of stories and dialogues are shared by all splits; scenes are not",
            "provenance": provenance.stamp(),
        }
        files.write_json(folder / "conversations.json", report)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    add_out(parser, "folder of the conversations")


def main(args: argparse.Namespace) -> None:
    run(read_config(args), args.out)
