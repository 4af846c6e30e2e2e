"""What all prompts begin with, an instruction and its examples, run through a causal language model once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer

from gillnext.language import batching


def shared(prompts: Sequence[Sequence[int]]) -> list[int]:
    """The tokens that all prompts begin with."""
    columns = takewhile(lambda column: len(set(column)) == 1, zip(*prompts, strict=False))
    return [column[0] for column in columns]


@dataclass(frozen=True)
class Prefix:
    """The keys and values (1, H, P, D) of the P `tokens` in every layer of a causal LM.

    Prompts that begin with these tokens need only the rest of themselves: causal attention lets nothing that follows
    change what they were.
    """

    tokens: list[int]
    layers: list[tuple[Tensor, Tensor]]
    device: torch.device

    @classmethod
    def of(cls, network: Any, tokens: Sequence[int]) -> Prefix | None:
        """Of a network without its head; None where a layer does not keep all keys (sliding windows, recurrence)."""
        kept = network(torch.tensor([list(tokens)], device=network.device), use_cache=True).past_key_values
        if not all(type(layer) is DynamicLayer for layer in kept.layers):
            return None
        return cls(list(tokens), [(layer.keys, layer.values) for layer in kept.layers], network.device)

    def begins(self, prompts: Sequence[Sequence[int]]) -> bool:
        """Whether all prompts begin with these tokens, and go on."""
        length = len(self.tokens)
        return all(len(p) > length and list(p[:length]) == self.tokens for p in prompts)

    def inputs(self, prompts: Sequence[Sequence[int]], pad: int) -> dict[str, Any]:
        """As `batching.inputs`, for what follows these tokens in prompts that begin with them.

        Short rows are padded between beginning and rest, so that the last position is the last token of each.
        """
        rows, length = len(prompts), len(self.tokens)
        given: dict[str, Any] = dict(batching.inputs([p[length:] for p in prompts], pad, self.device))
        seen = torch.ones(rows, length, dtype=given["attention_mask"].dtype, device=self.device)
        given["attention_mask"] = torch.cat([seen, given["attention_mask"]], 1)
        given["position_ids"] = given["position_ids"] + length
        spread = [(k.expand(rows, -1, -1, -1), v.expand(rows, -1, -1, -1)) for k, v in self.layers]
        return given | {"past_key_values": DynamicCache(spread), "use_cache": True}
