"""What the frozen language model learns to say of a conversation: what is in the picture, in several forms.

①猫②树③房子            every object, in the order of mention (the noun at once: the state at a number holds it)
画里有一只猫、一棵树和一座房子。
猫左上、树右、房子中。  with the part of the picture where it stands
共三样。
第二样是树。
猫有，鱼没有。          of some nouns, whether they are there
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from gillnext.layouts import Box, Layout
from gillnext.miniatures.world.captions import join
from gillnext.miniatures.world.kinds import Kind
from gillnext.miniatures.world.sentences import NUMBERS

MARKS = "①②③④⑤⑥"
COLUMNS, ROWS = "左中右", "上中下"
LINES = 3  # of a retelling, at most: what repeats another line teaches a small model to copy
SHARES = {"listed": 0.4, "captioned": 0.2, "placed": 0.2, "counted": 0.05, "numbered": 0.05, "checked": 0.1}


def third(box: Box) -> list[int]:
    """The third that a box's centre lies in, from left to right and from top to bottom, 0 to 2."""
    return [min(int(3 * (box[i] + box[i + 2]) / 2), 2) for i in (0, 1)]


def part(box: Box) -> str:
    """左上, 上, 右上, 左, 中 …: the ninth of the picture that a box's centre lies in."""
    x, y = third(box)
    return (COLUMNS[x] + ROWS[y]).replace("中", "") or "中"


class Retelling:
    """Writes what a layout shows, whose names are in the order of mention."""

    def __init__(self, kinds: Sequence[Kind]) -> None:
        self.phrases: Mapping[str, str] = {kind.name: kind.phrase for kind in kinds}
        self.forms: dict[str, Callable[[Layout, np.random.Generator], str]] = {
            "listed": lambda layout, rng: listed(layout.names),
            "captioned": lambda layout, rng: f"画里有{join([self.phrases[name] for name in layout.names])}。",
            "placed": self._placed,
            "counted": lambda layout, rng: f"共{NUMBERS[len(layout.names)]}样。",
            "numbered": self._numbered,
            "checked": self._checked,
        }

    def write(self, layout: Layout, rng: np.random.Generator) -> str:
        """The layout in one to `LINES` of the forms, a line each."""
        lines = int(rng.integers(1, LINES + 1))
        forms = rng.choice(list(SHARES), size=lines, p=list(SHARES.values()), replace=False)
        return "\n".join(self.forms[str(form)](layout, rng) for form in forms)

    def _placed(self, layout: Layout, rng: np.random.Generator) -> str:
        return "、".join(name + part(box) for name, box in zip(layout.names, layout.boxes, strict=True)) + "。"

    def _numbered(self, layout: Layout, rng: np.random.Generator) -> str:
        number = int(rng.integers(len(layout.names)))
        return f"第{'一二三四五六'[number]}样是{layout.names[number]}。"

    def _checked(self, layout: Layout, rng: np.random.Generator) -> str:
        known = list(self.phrases)
        some = [*rng.permutation(list(layout.names))[:2], *rng.permutation(known)[:2]]
        asked = [str(name) for name in rng.permutation(list(dict.fromkeys(some)))]
        return "，".join(name + ("有" if name in layout.names else "没有") for name in asked) + "。"


def listed(names: Sequence[str]) -> str:
    """①猫②树."""
    return "".join(mark + name for mark, name in zip(MARKS, names, strict=False))


def read(text: str) -> tuple[str, ...]:
    """The names of a list as `listed` writes it."""
    return tuple(name for name in re.split(f"[{MARKS}]", text.split("\n")[0]) if name)
