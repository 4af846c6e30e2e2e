"""The planner: captions in, layouts out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from gillnext.language import model
from gillnext.layouts import Layout
from gillnext.planner import format as plan_format
from gillnext.planner.decode import generate
from gillnext.runtime import files


class Planner:
    """A causal LM that writes plans, with the nouns that it knows (`Planner.from_pretrained(folder)`)."""

    def __init__(self, network: Any, tokenizer: PreTrainedTokenizerBase, nouns: Sequence[str] = ()) -> None:
        self.network, self.tokenizer, self.nouns = network, tokenizer, tuple(nouns)

    @classmethod
    def from_pretrained(cls, folder: Path | str, device: str = "cpu") -> Planner:
        """A planner from a folder that `gillnext planner` wrote, or any causal LM that writes plans."""
        network, tokenizer = model.load(folder, device)
        notes = Path(folder) / "planner.json"
        return cls(network, tokenizer, files.read_json(notes)["nouns"] if notes.exists() else ())

    def answer(self, captions: Sequence[str], *, constrained: bool = True, batch: int = 128) -> list[str]:
        """The raw answers; with `constrained` each of them parses."""
        return generate(
            self.network, self.tokenizer, captions, vocabulary=self.nouns, constrained=constrained, batch=batch
        )

    def plan(self, captions: Sequence[str], batch: int = 128) -> list[Layout]:
        """A layout for each caption, with one object or more; boxes xyxy in [0, 1]."""
        answers = self.answer(captions, batch=batch)
        return [plan_format.parse(a).layout(c) for a, c in zip(answers, captions, strict=True)]
