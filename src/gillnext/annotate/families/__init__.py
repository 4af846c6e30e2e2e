"""Families of vision-language models: how each is asked for boxes, and how its answers are read.

A family is a module with the names of `Family`; another one is another small file and a line here.
"""

from __future__ import annotations

from typing import Protocol

from gillnext.annotate.answers import Answer
from gillnext.annotate.base import Names
from gillnext.annotate.families import qwen2_5_vl, qwen2_vl
from gillnext.boxes import Convention
from gillnext.runtime.errors import UserError


class Family(Protocol):
    """`CONVENTION` is how its models write boxes; PIXELS are those of the image as the processor resizes it."""

    CONVENTION: Convention

    def question(self, caption: str, names: Names) -> str:
        """The user's part of the prompt."""
        ...

    def parse(self, text: str, size: tuple[int, int]) -> Answer:
        """Read an answer about an image of `size` (width, height) in the processor's pixels; takes any text, never
        raises.
        """
        ...


FAMILIES: dict[str, Family] = {"qwen2_vl": qwen2_vl, "qwen2_5_vl": qwen2_5_vl}  # by the checkpoint's model_type


def family(model_type: str) -> Family:
    """The family of a checkpoint; `UserError` names those that there are."""
    if model_type not in FAMILIES:
        raise UserError(
            f"no family of annotators for {model_type!r}", where="annotate.model",
            remedy=f"one of {', '.join(FAMILIES)}, or a file in annotate/families",
        )  # fmt: skip
    return FAMILIES[model_type]
