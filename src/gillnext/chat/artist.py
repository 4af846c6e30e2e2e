"""What draws the pictures of conversations: a base, with the spatial adapter where boxes are drawn, and a planner.

Letters: N conversations, T text states, C their width, P that of the pooled state.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from gillnext.adapter import pipeline as grounded
from gillnext.adapter.phrases import PREFIX, text_length
from gillnext.config.model import Config
from gillnext.conversations import Turn, text_of
from gillnext.layouts import Layout
from gillnext.planner import format as plan_format
from gillnext.planner.model import Planner
from gillnext.sample.pictures_folder import Keys, dtype


def plans(planner: Planner, texts: Sequence[str], counts: Counter[str]) -> list[Layout]:
    """The planner's layout of each conversation's text, as free as it answers: what a dialogue names may not be there
    (问：有没有狗？答：没有。), so that no grammar can tell what has to be.

    Of an answer that is no whole plan those objects are taken that can be read. `counts`: "plans", "broken plans".
    """
    answers = planner.answer(texts, constrained=False)
    parsed = [plan_format.parse(answer) for answer in answers]
    counts.update({"plans": len(parsed), "broken plans": sum(not one.valid for one in parsed)})
    return [one.layout(text) for one, text in zip(parsed, texts, strict=True)]


@dataclass
class Artist:
    """Draws in the settings of `sample`: its steps and guidance. `pipeline` draws boxes where it has an adapter."""

    cfg: Config
    pipeline: Any
    planner: Planner | None = None

    @classmethod
    def load(cls, cfg: Config, base: Path, adapter: Path | None = None, planner: Path | None = None) -> Artist:
        """The base in a folder, with the adapter and the planner of theirs."""
        pipeline = grounded.load(base, adapter, cfg.run.device, dtype(cfg))
        return cls(cfg, pipeline, Planner.from_pretrained(planner, cfg.run.device) if planner else None)

    def plan(self, conversations: Sequence[Sequence[Turn]], counts: Counter[str]) -> list[Layout]:
        """The planner's layouts of conversations, of their turns' texts."""
        assert self.planner is not None
        return plans(self.planner, [text_of(turns) for turns in conversations], counts)

    def draw(
        self,
        captions: Sequence[str],
        keys: Keys,
        layouts: Sequence[Layout] | None = None,
        embeds: tuple[Tensor, Tensor] | None = None,
    ) -> np.ndarray:
        """Pictures (N, H, W, 3) uint8 of captions, or of `embeds`, text states (N, T, C) and pooled states (N, P), in
        their place; without `layouts` nothing has a box. `keys` name each picture's noise.
        """
        plain = [Layout(caption, (), ()) for caption in captions]
        images, _ = self.pipeline.draw(
            captions, layouts or plain, keys=keys, embeds=embeds, steps=self.cfg.sample.steps,
            guidance=self.cfg.sample.guidance,
        )  # fmt: skip
        return (images * 255).round().astype(np.uint8)

    def too_long(self, captions: Sequence[str]) -> int:
        """How many captions are longer than what the text encoder reads; the end of these is not drawn."""
        most = text_length(self.pipeline)
        return sum(len(self.pipeline.tokenizer.tokenize(caption)) + PREFIX > most for caption in captions)
