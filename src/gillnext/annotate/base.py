"""What every annotator offers, whatever model is behind it, and which names of a caption it is asked for.

An annotator is given pictures with their captions and answers with named boxes. Adding one (another vision-language
model, say) means writing a class with these members; its own box convention is turned into xyxy in [0, 1] inside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from PIL import Image

from gillnext.boxes import Convention
from gillnext.language.words import alternation
from gillnext.layouts import Box
from gillnext.runtime import files
from gillnext.runtime.errors import UserError

Names = list[str] | None  # objects to look for; None: the annotator reads them off the caption itself


@dataclass(frozen=True)
class Found:
    """One answer: a name with its box (xyxy in [0, 1]) and score, or with `reason` why there is no box."""

    name: str
    box: Box | None
    score: float
    reason: str = ""


class Annotator(Protocol):
    """A model that writes boxes for the objects of captions.

    `name` names the backend; `convention` is how its model writes boxes before conversion; `needs_names` tells that it
    cannot read a caption by itself; `max_image_size` is the longest side of its images in pixels (None: any).
    """

    name: str
    convention: Convention
    needs_names: bool

    @property
    def max_image_size(self) -> int | None: ...

    def annotate(
        self, images: Sequence[Image.Image], captions: Sequence[str], names: Sequence[Names]
    ) -> list[list[Found]]:
        """Answers for each RGB image; the answer for an image depends on that image, caption and names alone."""
        ...


class Vocabulary:
    """Finds the names of a vocabulary in captions: exact, leftmost, the longest name that fits."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = sorted(set(names), key=lambda n: (-len(n), n))
        if not self.names or not all(self.names):
            raise ValueError("a vocabulary needs names, none of them empty")
        self.pattern = re.compile(alternation(self.names))

    def find(self, caption: str) -> list[str]:
        """The names in `caption`, each once, in the order of their first places."""
        return list(dict.fromkeys(self.pattern.findall(caption)))


def read_vocabulary(path: Path | str) -> Vocabulary:
    """A vocabulary from a UTF-8 file, a name a line; raises `UserError` where it holds none."""
    lines = [line.strip() for line in files.read_text(path).splitlines()]
    if not any(lines):
        raise UserError("no names in the vocabulary", where=str(path), remedy="write a name a line")
    return Vocabulary(line for line in lines if line)
