"""Layouts as token ids of prompt, plan and END, with what of them is taught.

A layout that lacks objects of its caption (their boxes were not found) still tells where the others are. It cannot
tell that the plan ends there, and which name comes where a missing one should: these tokens are left out of its loss,
and all others are taught. To name what is missing in the prompt instead would ask for plans in a way in which nobody
asks later, and would change the prompt of every layout.

Letters: B texts, T tokens.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from gillnext.language import batching
from gillnext.layouts import Layout
from gillnext.planner import format as plan_format
from gillnext.planner import prompts
from gillnext.planner.targets import HARD, Targets


class Encoded(NamedTuple):
    """One training text: `tokens` of prompt and plan, the row of each one's target (`Targets`), whether it is taught,
    and how many tokens are the prompt.
    """

    tokens: list[int]
    rows: list[int]
    taught: list[bool]
    prompt: int


def gaps(layout: Layout, missing: Collection[str]) -> list[bool]:
    """For each object, in the order of mention, whether the caption has a missing noun between it and the one before.

    An object that the caption does not name stands behind all that it does.
    """
    absent = [layout.caption.find(noun) for noun in missing]
    places = [at if (at := layout.caption.find(name)) >= 0 else len(layout.caption) for name in layout.names]
    return [any(before < at < place for at in absent) for before, place in zip([-1, *places[:-1]], places, strict=True)]


def pieces(layout: Layout) -> Iterator[tuple[str, int]]:
    """The plan in pieces that are tokenised each for itself, with the object that a name is of (−1 for all else)."""
    for i, (name, box) in enumerate(zip(layout.names, layout.boxes, strict=True)):
        numbers = plan_format.numbers(box, plan_format.GRID)
        yield plan_format.OPEN, -1
        yield name, i
        yield plan_format.MIDDLE, -1
        yield from ((n if first else plan_format.COMMA + n, -1) for n, first in zip(numbers, (1, 0, 0, 0), strict=True))
        yield plan_format.CLOSE, -1


def encode(
    tokenizer: PreTrainedTokenizerBase,
    targets: Targets,
    layout: Layout,
    missing: Collection[str] = (),
    complete: bool = True,
) -> Encoded:
    """One layout; `missing` are nouns of its caption without a box, `complete` whether all that it shows is in it."""
    tokens = prompts.tokens(layout.caption, tokenizer)
    asked = len(tokens)
    rows, taught, behind_gap = [HARD] * asked, [True] * asked, gaps(layout, missing)
    for text, named in pieces(layout):
        number = targets.numbers.get(text) if named < 0 else None
        own, places = number or targets.word(text)
        tokens, rows = tokens + own, rows + places
        taught += [named < 0 or not behind_gap[named]] * len(own)
    end = complete and not missing
    return Encoded([*tokens, tokenizer.eos_token_id], [*rows, HARD], [*taught, end], asked)


class Batch(NamedTuple):
    """Encoded texts side by side: the model's `inputs` (B, T), and for each position but the last, (B, T - 1), what
    comes next: its token, the row of its target, and whether it is a plan's and taught, or a caption's.
    """

    inputs: dict[str, Tensor]
    labels_BT: Tensor
    rows_BT: Tensor
    plan_BT: Tensor
    caption_BT: Tensor


def collate(encoded: list[Encoded], pad: int, device: torch.device | str) -> Batch:
    """The batch of these texts, padded on the left."""
    tokens = [e.tokens for e in encoded]
    every = batching.labels([1] * len(tokens), tokens)[:, 1:]
    plans = batching.labels([e.prompt for e in encoded], tokens)[:, 1:] != batching.IGNORE
    taught = batching.left_pad([e.taught for e in encoded], 0)[:, 1:].bool()
    rows = batching.left_pad([e.rows for e in encoded], HARD)[:, 1:]
    kinds = (every, rows, plans & taught, ~plans & (every != batching.IGNORE))
    return Batch(batching.inputs(tokens, pad, device), *(kind.to(device) for kind in kinds))
