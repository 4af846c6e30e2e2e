"""What a page may ask of the studio: JSON objects that are checked to the last number before anything is drawn."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NoReturn

from gillnext import boxes
from gillnext.layouts import MAX_BOXES, Layout
from gillnext.runtime import files
from gillnext.runtime.errors import UserError
from gillnext.sample.draw import parse_boxes

BODY = 64 * 1024  # bytes of a request at most
CAPTION, NAME = 300, 40  # characters at most
SEEDS = (0, 2**32 - 1)
STEPS = (1, 100)
GUIDANCE = (0.0, 20.0)


@dataclass(frozen=True)
class Drawing:
    """One picture: `arm` is a name of the studio's, None for the base alone, which gets no boxes."""

    layout: Layout
    arm: str | None
    seed: int
    steps: int
    guidance: float

    def bare(self) -> Drawing:
        """The same caption, noise and steps without boxes and adapter."""
        return Drawing(Layout(self.layout.caption, (), ()), None, self.seed, self.steps, self.guidance)


def refuse(what: str, where: str, remedy: str) -> NoReturn:
    raise UserError(what, where=where, remedy=remedy)


def fields(data: Any, names: Collection[str]) -> dict[str, Any]:
    """`data`, if it is an object with these fields and no others."""
    if not isinstance(data, dict) or set(data) != set(names):
        refuse("not the fields that are wanted", "the request", f"send {', '.join(names)}")
    return data


def page(value: Any) -> str:
    """The name that a page has given itself."""
    if not (files.is_text(value) and len(value) <= NAME):
        refuse(f"{value!r:.60} is no page", "page", f"a text of {NAME} characters at most")
    return value


def caption(value: Any) -> str:
    if not files.is_text(value):
        refuse("there is no sentence", "一句话 sentence", "write what is to be drawn, in Chinese")
    if len(value) > CAPTION:
        refuse(f"{len(value)} characters", "一句话 sentence", f"write {CAPTION} characters at most")
    return value.strip()


def within(value: Any, limits: tuple[float, float], where: str, whole: bool = True) -> Any:
    """A number, a `whole` one where it has to be, from limit to limit."""
    low, high = limits
    if not boxes.is_number(value) or (whole and value != int(value)) or not low <= value <= high:
        kind = "a whole number" if whole else "a number"
        refuse(f"{value!r:.40} is out of range", where, f"{kind} from {low:g} to {high:.10g}")
    return int(value) if whole else float(value)


def layout(data: Any, text: str, where: str, convention: str = "unit") -> Layout:
    """Boxes out of JSON, in any form that `gillnext draw` reads, as a layout of the caption `text`."""
    found = parse_boxes(data, text, where, convention)
    if len(found.names) > MAX_BOXES:
        refuse(f"{len(found.names)} boxes", where, f"a picture has {MAX_BOXES} at most")
    for i, name in enumerate(found.names):
        if len(name) > NAME:
            refuse(f"a name of {len(name)} characters", f"{where}, box {i + 1}", f"{NAME} characters at most")
    return Layout(text, tuple(name.strip() for name in found.names), found.boxes)


def drawing(data: Any, arms: Collection[str]) -> Drawing:
    """What a request to draw asks for, of one of the `arms`."""
    asked = fields(data, ("page", "caption", "objects", "arm", "seed", "steps", "guidance"))
    if asked["arm"] not in list(arms):
        refuse(f"{asked['arm']!r:.60} is no arm here", "臂 arm", f"one of {', '.join(arms)}")
    return Drawing(
        layout({"objects": asked["objects"]}, caption(asked["caption"]), "框 boxes"),
        asked["arm"],
        within(asked["seed"], SEEDS, "种子 seed"),
        within(asked["steps"], STEPS, "步数 steps"),
        within(asked["guidance"], GUIDANCE, "引导 guidance", whole=False),
    )


def pasted(text: Any) -> tuple[str, Layout]:
    """The sentence ("" where there is none) and boxes of a JSON text, in fractions or thousandths."""
    where = "JSON"
    if not isinstance(text, str):
        refuse("no text", where, "paste boxes as JSON")
    try:
        data = json.loads(text, object_pairs_hook=files.unique)
    except (ValueError, RecursionError) as error:
        raise UserError(f"not JSON: {error}", where=where, remedy=files.RULES) from error
    captioned = data.get("caption") if isinstance(data, dict) and "objects" in data else None
    said = caption(captioned) if captioned else ""
    return said, layout(data, said or "?", where, "auto")
