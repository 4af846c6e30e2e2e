"""Conversations: texts and pictures in turn, as JSON lines (`turns: [{text, picture, caption, objects, relations}]`).

A person's script has text and pictures alone. What is trained on, or scored, also says of a turn's picture which
caption names all of it, where its objects are, and which relations were told.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NoReturn

from gillnext import layouts
from gillnext.layouts import Layout
from gillnext.runtime import files
from gillnext.runtime.errors import UserError

KINDS = ("caption", "story", "dialogue", "script")
TURNS = 64  # of a conversation, at most
RELATIONS = ("left", "right", "above", "below")

Relation = tuple[int, str, int | None]  # object, relation, and to which object; None: to the picture's centre


@dataclass(frozen=True)
class Turn:
    """What is said, and the picture shown with it: its path, relative to the conversations' file ("": none).

    layout: what the picture shows, under the caption that names all of it; None where that is not known.
    """

    text: str
    picture: str = ""
    layout: Layout | None = None
    relations: tuple[Relation, ...] = ()

    def to_row(self) -> dict[str, Any]:
        row: dict[str, Any] = {"text": self.text}
        if self.picture:
            row["picture"] = self.picture
        if self.layout:
            shown = self.layout.to_row()
            row |= {"caption": shown["caption"], "objects": shown["objects"]}
        if self.relations:
            row["relations"] = [list(relation) for relation in self.relations]
        return row


@dataclass(frozen=True)
class Conversation:
    """Turns in their order. `kind` is one of `KINDS`: a captioned picture, a story, questions and answers, a script."""

    id: str
    kind: Literal["caption", "story", "dialogue", "script"]
    turns: tuple[Turn, ...]

    def to_row(self) -> dict[str, Any]:
        return {"id": self.id, "kind": self.kind, "turns": [turn.to_row() for turn in self.turns]}


def text_of(turns: Iterable[Turn]) -> str:
    """The turns' texts, a line each."""
    return "\n".join(turn.text for turn in turns)


def _refuse(what: str, where: str) -> NoReturn:
    remedy = 'rows are {"id": "…", "kind": "story", "turns": [{"text": "…", "picture": "…"}, …]}'
    raise UserError(what, where=where, remedy=remedy)


def _relations(value: Any, objects: int, where: str) -> tuple[Relation, ...]:
    if not isinstance(value, list):
        _refuse(f"'relations' is {value!r:.60} and not a list", where)
    for relation in value:
        whole = isinstance(relation, list) and len(relation) == 3 and relation[1] in RELATIONS
        known = [n for n in relation[::2] if n is not None] if whole else []
        if not whole or relation[0] is None or not all(type(n) is int and 0 <= n < objects for n in known):
            _refuse(f"{relation!r:.60} is no relation: [object, {' | '.join(RELATIONS)}, object or null]", where)
    return tuple((i, name, j) for i, name, j in value)


def _turn(row: Any, where: str) -> Turn:
    if not isinstance(row, dict):
        _refuse(f"{row!r:.60} is no object", where)
    text, picture = row.get("text", ""), row.get("picture", "")
    for key, value in (("text", text), ("picture", picture)):
        if not isinstance(value, str) or (value and not files.is_text(value)):
            _refuse(f"{key!r} is {value!r:.60} and not text", where)
    if not (text.strip() or picture):
        _refuse("says nothing and shows nothing", where)
    if PurePosixPath(picture).is_absolute() or ".." in PurePosixPath(picture).parts:
        _refuse(f"the picture {picture!r:.80} is not inside the file's folder", where)
    shown = {key: row[key] for key in ("caption", "objects") if key in row}
    layout = layouts.from_row(shown, where) if shown else None
    return Turn(text, picture, layout, _relations(row.get("relations", []), len(layout.names) if layout else 0, where))


def from_row(row: Any, where: str) -> Conversation:
    """A checked `Conversation` from one JSON row; errors name `where` (file and line) and the turn."""
    if not isinstance(row, dict) or not isinstance(row.get("turns"), list):
        _refuse("a list of 'turns' is missing", where)
    kind, turns, name = row.get("kind", "script"), row["turns"], row.get("id", "")
    if kind not in KINDS or not isinstance(name, str):
        _refuse(f"kind {kind!r:.40}, id {name!r:.40}: one of {', '.join(KINDS)}, and a text", where)
    if not 0 < len(turns) <= TURNS:
        _refuse(f"{len(turns)} turns; there may be 1 to {TURNS}", where)
    return Conversation(name, kind, tuple(_turn(turn, f"{where}, turn {i}") for i, turn in enumerate(turns, 1)))


def stream(path: Path | str) -> Iterator[Conversation]:
    """The conversations of a JSONL file, one at a time, each checked; a bad row raises with its line and turn."""
    return (from_row(row, f"{path}, line {n}") for n, row in files.numbered_jsonl(path))


def read(path: Path | str) -> list[Conversation]:
    """All conversations of a JSONL file."""
    return list(stream(path))


def write(path: Path | str, rows: Sequence[Conversation]) -> None:
    files.write_jsonl(path, (row.to_row() for row in rows))
