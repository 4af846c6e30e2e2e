"""A made-up record of conversations: scores of the form that `gillnext converse` writes, and pictures to show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from gillnext import conversations, layouts
from gillnext.conversations import Conversation, Turn
from gillnext.layouts import Layout
from gillnext.supplement import illustrate
from gillnext.supplement.gill import WAYS

STAMP = {"arithmetic": "portable", "processor": "a processor", "libc": "a C library"}


def group(n: int = 20, **metrics: float) -> dict:
    ends = {name: [max(value - 0.05, 0), min(value + 0.05, 1)] for name, value in metrics.items()}
    return {"n": n, "metrics": metrics, "intervals": ends, "counts": dict.fromkeys(metrics, float(n))}


def recalls(r1: float) -> dict:
    found = group(20, r1=r1, r5=min(3 * r1, 1), r10=min(5 * r1, 1)) | {"rows": 20}
    own = {key: found[key] for key in ("metrics", "intervals")}
    return found | {"chance": {"r1": 0.05, "r5": 0.25, "r10": 0.5}, "baseline": own}


def difference(value: float) -> dict:
    return {"value": value, "interval": [value - 0.1, value + 0.1]}


def scores() -> dict:
    """Numbers that say nothing, each of another size where a test tells them apart."""
    named = {"recall": 0.91, "precision": 0.92, "f1": 0.9, "extra": 0.1, "relations": 0.5, "bleu": 0.4}
    captions = group(30, **named) | {key: named for key in ("chance", "baseline", "ceiling")}
    classes = {way: group(recall=0.5 + 0.02 * i, precision=0.6, f1=0.6, extra=0.3) | {"chance": {"recall": 0.2}}
               for i, way in enumerate(WAYS)}  # fmt: skip
    places = {
        way: group(success50=0.3 + 0.02 * i, relations=0.4 + 0.02 * i, present=0.7)
        | {"chance": {"success50": 0.1, "relations": 0.35}}
        for i, way in enumerate(WAYS)
    }
    apart = {"next − gill-pictures": {key: difference(0.2) for key in ("recall", "success50", "relations")}}
    asked = {name: recalls(0.1 * (i + 1)) for i, name in enumerate(("1", "2", "3", "4", "5", "all", "pictures"))}
    decided = group(20, accuracy=0.8, accuracy_evaluator=0.75, retrieved=0.4, f1=0.83) | {
        "chance": {"accuracy": 0.5, "f1": 0.7},
        "baseline": {"f1_retrieve": 0.6, "f1_generate": 0.8, "accuracy_retrieve": 0.4, "accuracy_generate": 0.6},
        "ceiling": {"f1": 0.95},
        "contrasts": {f"decided − {name}": {"f1": difference(0.03)} for name in ("retrieve", "generate", "coin")},
    }
    other = decided | {"metrics": decided["metrics"] | {"f1": 0.81}}
    heads = {"second_evaluator": decided, "image_text": other}
    decisions = {"val": heads, "test": heads | {"next": group(20, f1=0.9)}}
    kinds = ("story", "dialogue")
    few = {way: classes[way] for way in ("gill-pictures", "next")}
    other_trainings = {
        name: {
            "n": 40, "trained": {"images": images, "generation": generation, "steps": 1200},
            "retrieval": {"gallery": {"1": recalls(0.01 * images)}},
            "generation": dict.fromkeys(kinds, few),
            "placement": {kind: {way: places[way] for way in few} for kind in kinds},
        }
        for name, images, generation in (("images-4", 4, "matching"), ("images-2", 2, "matching"),
                                         ("denoising", 8, "denoising"))
    }  # fmt: skip
    return {
        "name": "converse", "n": 40, "trained": {"images": 8, "generation": "matching", "steps": 1200},
        "variants": other_trainings, "captioning": {"gallery": captions, "test": captions},
        "retrieval": {"gallery": {"1": recalls(0.2)}} | dict.fromkeys(kinds, asked),
        "generation": dict.fromkeys(kinds, classes), "placement": dict.fromkeys(kinds, places),
        "contrasts": dict.fromkeys(kinds, apart), "decision": decisions, "provenance": STAMP,
    }  # fmt: skip


def story(number: int, turns: int = 5) -> Conversation:
    layout = Layout("一只猫", ("猫",), ((0.1, 0.2, 0.5, 0.7),))
    name = f"story-test-{number:05d}"
    said = [
        Turn(f"第{k}句说猫在左边。", f"pictures/{name}-{k}.png", layout, ((0, "left", None),)) for k in range(turns)
    ]
    return Conversation(name, "story", tuple(said))


def pictures(root: Path, count: int = 6) -> tuple[Path, Path]:
    """A file of test stories with their pictures, and a folder of what was drawn of them; returns both."""
    rows = [story(i) for i in range(count)]
    (root / "conversations/pictures").mkdir(parents=True)
    conversations.write(root / "conversations/test.jsonl", rows)
    for i, row in enumerate(rows):
        for k, turn in enumerate(row.turns):
            shade = np.full((8, 8, 3), 20 * i + k, np.uint8)
            Image.fromarray(shade).save(root / "conversations" / turn.picture)
    for j, way in enumerate(illustrate.WAYS):
        folder = root / "pictures" / way
        folder.mkdir(parents=True)
        for i in range(count):
            Image.fromarray(np.full((8, 8, 3), 100 + 10 * j + i, np.uint8)).save(folder / f"{i:05d}.png")
        layouts.write(folder / "layouts.jsonl", [row.turns[-1].layout for row in rows if row.turns[-1].layout])
    return root / "conversations/test.jsonl", root / "pictures"
