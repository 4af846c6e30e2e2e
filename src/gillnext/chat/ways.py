"""In which ways the last picture of a conversation is drawn (the table: `respond`), and what it should show."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gillnext.conversations import Conversation, Turn
from gillnext.layouts import Layout
from gillnext.runtime.errors import UserError

LONGEST = 5  # turns of context that are drawn one by one
TRUTH = "truth.jsonl"


@dataclass(frozen=True)
class Way:
    """`by`: what the UNet's text states are made of; of the mapper's, `turns` are how many it reads (None: all).
    `pictures`: whether it is shown the earlier ones. `shuffled`: those of another conversation.
    """

    by: Literal["caption", "last", "dialogue", "mapper"]
    boxes: Literal["none", "planned", "true"] = "none"
    turns: int | None = None
    pictures: bool = True
    shuffled: bool = False


WAYS: dict[str, Way] = {
    "caption": Way("caption"),
    "last": Way("last"),
    "dialogue": Way("dialogue"),
    **{f"gill-{n}": Way("mapper", turns=n, pictures=False) for n in range(1, LONGEST + 1)},
    "gill-pictures": Way("mapper"),
    "gill-shuffled": Way("mapper", shuffled=True),
    "next": Way("mapper", "planned"),
    "next-true": Way("mapper", "true"),
    "caption-planned": Way("caption", "planned"),
    "caption-true": Way("caption", "true"),
}


def true_layout(row: Conversation, where: str = "conversations") -> Layout:
    """What a conversation's last picture shows, with its id, kind and told relations; `UserError` where not known."""
    turn = row.turns[-1]
    if turn.layout is None:
        remedy = 'give the last turn of every conversation "caption" and "objects"'
        raise UserError(f"what its last picture shows is not known: {row.id!r}", where=where, remedy=remedy)
    extra = {"kind": row.kind, "relations": [list(relation) for relation in turn.relations]}
    return dataclasses.replace(turn.layout, id=row.id, image_path=turn.picture, extra=extra)


def others(rows: Sequence[Conversation]) -> list[int]:
    """For each conversation the place of the next one of its kind, the first again after the last.

    `UserError` where a kind has but one.
    """
    found = [0] * len(rows)
    for kind in dict.fromkeys(row.kind for row in rows):
        own = [i for i, row in enumerate(rows) if row.kind == kind]
        if len(own) < 2:
            what = f"there is but one {kind}: no other conversation whose states could be drawn in its place"
            raise UserError(what, where="gill-shuffled", remedy="give two or more, or leave the way out (--ways)")
        for i, other in zip(own, own[1:] + own[:1], strict=True):
            found[i] = other
    return found


def context(turns: Sequence[Turn], count: int | None) -> Sequence[Turn]:
    """The last `count` turns, or all."""
    return turns if count is None else turns[-count:]
