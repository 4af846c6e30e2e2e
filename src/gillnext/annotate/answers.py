"""What a model's text says about boxes, and why other parts of it say none. Nothing is clamped or guessed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gillnext import boxes
from gillnext.annotate.base import Found, Names
from gillnext.layouts import Box

MOST = 32  # boxes taken from one answer; more is a model that repeats itself


@dataclass(frozen=True)
class Answer:
    """Named boxes (xyxy in [0, 1], each pair once), and (name, reason) of what is no box."""

    objects: tuple[tuple[str, Box], ...]
    problems: tuple[tuple[str, str], ...]


def refusal(box: Sequence[float]) -> str:
    """Why four numbers are no box, in the words that the counts use; empty where they are one."""
    reason = boxes.problem(box)
    return "" if reason is None else "reversed or empty" if "reversed" in reason else "out of range"


class Reading:
    """Collects an answer piece by piece while its text is read."""

    def __init__(self) -> None:
        self.objects: list[tuple[str, Box]] = []
        self.problems: list[tuple[str, str]] = []

    def problem(self, name: str, reason: str) -> None:
        self.problems.append((name, reason))

    def box(self, name: str, values: Sequence[object], width: float, height: float) -> None:
        """A box of four numbers in units of which the image has `width` × `height`, or the reason why it is none."""
        try:
            x1, y1, x2, y2 = (float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool))
            box = (x1 / width, y1 / height, x2 / width, y2 / height)
        except (ValueError, OverflowError):
            self.problem(name, "malformed")
            return
        if not name:
            self.problem("", "a box without a name")
        elif reason := refusal(box):
            self.problem(name, reason)
        elif (name, box) in self.objects:
            self.problem(name, "repeated")
        elif len(self.objects) >= MOST:
            self.problem(name, "too many boxes")
        else:
            self.objects.append((name, box))

    def answer(self) -> Answer:
        if not self.objects and not self.problems:
            self.problem("", "no box in the answer")
        return Answer(tuple(self.objects), tuple(self.problems))


def to_found(answer: Answer, caption: str, names: Names) -> list[Found]:
    """Answers for the names that were asked for; without names, for those that stand in the caption."""
    found = []
    for name, box in answer.objects:
        allowed = name in names if names is not None else name in caption
        reason = "" if allowed else "a name that was not asked for"
        found.append(Found(name, box if allowed else None, 1.0 if allowed else 0.0, reason))
    found += [Found(name, None, 0.0, reason) for name, reason in answer.problems]
    answered = {f.name for f in found}
    return found + [Found(n, None, 0.0, "object not in the image") for n in names or [] if n not in answered]
