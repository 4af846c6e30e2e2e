"""The planner: captions in, layouts out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from gillnext.language import model
from gillnext.layouts import MAX_BOXES, Layout
from gillnext.planner import format as plan_format
from gillnext.planner.decode import generate
from gillnext.runtime import files


class Planner:
    """A causal LM that writes plans (`Planner.from_pretrained(folder)`).

    `nouns` are those that it knows. With `unlisted` a plan may name other parts of a caption as well. `most`: objects
    of a plan at most.
    """

    def __init__(
        self,
        network: Any,
        tokenizer: PreTrainedTokenizerBase,
        nouns: Sequence[str] = (),
        unlisted: bool = False,
        most: int = MAX_BOXES,
    ) -> None:
        self.network, self.tokenizer, self.nouns = network, tokenizer, tuple(nouns)
        self.unlisted, self.most = unlisted, most

    @classmethod
    def from_pretrained(cls, folder: Path | str, device: str = "cpu") -> Planner:
        """A planner from a folder that `gillnext planner` wrote, or any causal LM that writes plans."""
        network, tokenizer = model.load(folder, device)
        path = Path(folder) / "planner.json"
        notes = files.read_json(path) if path.exists() else {}
        known = notes.get("nouns", ()), notes.get("unlisted", False), notes.get("boxes", MAX_BOXES)
        return cls(network, tokenizer, *known)

    def answer(self, captions: Sequence[str], *, constrained: bool = True, batch: int = 128) -> list[str]:
        """The raw answers; with `constrained` each of them parses."""
        return generate(
            self.network, self.tokenizer, captions,
            vocabulary=self.nouns, unlisted=self.unlisted, most=self.most, constrained=constrained, batch=batch,
        )  # fmt: skip

    def plan(self, captions: Sequence[str], batch: int = 128) -> list[Layout]:
        """A layout for each caption, with one object or more; boxes xyxy in [0, 1]."""
        answers = self.answer(captions, batch=batch)
        return [plan_format.parse(a).layout(c) for a, c in zip(answers, captions, strict=True)]
