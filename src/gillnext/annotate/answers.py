"""The boxes in a model's answer, and the reason for each part of it that is no box. Nothing is clamped or guessed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from gillnext import boxes
from gillnext.annotate.base import Found, Names
from gillnext.layouts import Box

MOST = 32  # boxes taken from one answer; more is a model that repeats itself
# Full-width signs become ASCII's, and all quotes one, a character for a character: places in the text stay the same.
PLAIN = str.maketrans({chr(i): chr(i - 0xFEE0) for i in range(0xFF01, 0xFF5F)} | {"、": ",", "\u3000": " "})
PLAIN |= dict.fromkeys(map(ord, "'＇‘’“”"), '"')
# What answers have beside names.
_FORM = re.compile(r"<\|\w+\|>|```json|bbox(?:_2d)?|label|null")
_WORD = re.compile(r"[^\W\d_]")
_NUMBER = r"-?\d+(?:\.\d+)?"
_FOUR = re.compile(rf"{_NUMBER}(?:[\s,;()\[\]\"]+{_NUMBER}){{3}}")


@dataclass(frozen=True)
class Answer:
    """Named boxes (xyxy in [0, 1], each pair once), and (name, reason) of what is no box."""

    objects: tuple[tuple[str, Box], ...]
    problems: tuple[tuple[str, str], ...]
    nameless: Box | None = None  # where the answer is one box without a name, and nothing else


def refusal(box: Sequence[float]) -> str:
    """Why four numbers are no box, in the words that the counts use; empty where they are one."""
    reason = boxes.problem(box)
    return "" if reason is None else "reversed or empty" if "reversed" in reason else "out of range"


def number(value: object) -> float:
    """A number, or what a text says that is one; `ValueError` or `OverflowError` of anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{value!r} is no number")
    return float(value)


class Reading:
    """Collects an answer piece by piece while its text is read."""

    def __init__(self) -> None:
        self.objects: list[tuple[str, Box]] = []
        self.problems: list[tuple[str, str]] = []
        self.nameless: list[Box] = []

    def problem(self, name: str, reason: str) -> None:
        self.problems.append((name, reason))

    def box(self, name: str, values: Sequence[object], width: float, height: float) -> None:
        """A box of four numbers in units of which the image has `width` × `height`, or the reason why it is none."""
        try:
            x1, y1, x2, y2 = map(number, values)
            box = (x1 / width, y1 / height, x2 / width, y2 / height)
        except (ValueError, OverflowError):
            self.problem(name, "malformed")
            return
        if reason := refusal(box):
            self.problem(name, reason)
        elif x2 <= 1 and y2 <= 1:  # no object is smaller than one unit: these are other units
            self.problem(name, "fractions of the image")
        elif not name:
            self.nameless.append(box)
            self.problem("", "a box without a name")
        elif (name, box) in self.objects:
            self.problem(name, "repeated")
        elif len(self.objects) >= MOST:
            self.problem(name, "too many boxes")
        else:
            self.objects.append((name, box))

    def unread(self, text: str) -> None:
        """A part of the answer in which no box was read: a problem where four numbers stand there."""
        if _FOUR.search(text.translate(PLAIN)):
            self.problem("", "coordinates in another form")

    def answer(self, text: str) -> Answer:
        """What was read of `text`; a box is `nameless` where the text has no word that may be its name."""
        if not self.objects and not self.problems:
            self.problem("", "no box in the answer")
        alone = not self.objects and len(self.problems) == len(self.nameless) == 1
        nameless = self.nameless[0] if alone and not _WORD.search(_FORM.sub("", text)) else None
        return Answer(tuple(self.objects), tuple(self.problems), nameless)


def to_found(answer: Answer, caption: str, names: Names) -> list[Found]:
    """Answers for the names that were asked for; without names, for those that stand in the caption.

    A box without a name, where nothing else was answered, is that of the one name that was asked for.
    """
    if answer.nameless and names is not None and len(names) == 1:
        return [Found(names[0], answer.nameless, 1.0)]
    found = []
    for name, box in answer.objects:
        allowed = name in names if names is not None else name in caption
        reason = "" if allowed else "a name that was not asked for"
        found.append(Found(name, box if allowed else None, 1.0 if allowed else 0.0, reason))
    found += [Found(name, None, 0.0, reason) for name, reason in answer.problems]
    answered = {f.name for f in found}
    return found + [Found(n, None, 0.0, "object not in the image") for n in names or [] if n not in answered]
