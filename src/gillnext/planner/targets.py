"""What each token of a plan should be predicted as: itself, or for a number the neighbours on the grid as well.

Where an object goes is loose, and a target that says so teaches from fewer layouts. A number's neighbours have a
Gaussian's weights. A tokenizer of our own has one token a number, and its target is these weights. A given language
model's tokenizer spells a number in digits: the target of a digit is then how the weight of all numbers that begin with
the digits before it is spread over the next one. The product of a number's conditional targets is its weight again.

Targets are kept sparse, a row a spelling: a matrix of every token by every other would take 90 GB for a vocabulary of
150,000.

Letters: N tokens, R rows of targets, K tokens of a row, V vocabulary.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from gillnext.planner import format as plan_format

HARD = 0  # the row of a token that is to be predicted as itself


class Targets:
    """Numbers of the grid as a tokenizer spells them, and R rows of up to K tokens with weights that sum to 1.

    `numbers` has for each number, with and without its comma, the tokens and the rows of their targets.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, spread: float) -> None:
        self.numbers: dict[str, tuple[list[int], list[int]]] = {}
        rows: list[dict[int, float]] = [{0: 1.0}]
        for texts in plan_format.grid_tokens():
            spellings = [list(tokenizer(t, add_special_tokens=False).input_ids) for t in texts]
            index = torch.arange(len(texts))
            weights = torch.exp(-0.5 * ((index[:, None] - index) / spread) ** 2)
            weights = weights / weights.sum(1, keepdim=True)
            for text, own, shares in zip(texts, spellings, weights.tolist(), strict=True):
                places = []
                for at in range(len(own)):
                    row = _next(spellings, shares, own[:at])
                    places.append(HARD if len(row) == 1 else len(rows))
                    rows += [row] if len(row) > 1 else []
                self.numbers[text] = own, places
        self._word = functools.lru_cache(10_000)(lambda text: tokenizer(text, add_special_tokens=False).input_ids)
        width = max(map(len, rows))
        padded = [[*row.items(), *[(0, 0.0)] * (width - len(row))] for row in rows]
        self.ids_RK = torch.tensor([[token for token, _ in row] for row in padded])
        self.weights_RK = torch.tensor([[weight for _, weight in row] for row in padded])

    def word(self, text: str) -> tuple[list[int], list[int]]:
        """Tokens and rows of a text that is to be predicted as itself."""
        tokens = list(self._word(text))
        return tokens, [HARD] * len(tokens)

    def to(self, device: str | torch.device) -> Targets:
        self.ids_RK, self.weights_RK = self.ids_RK.to(device), self.weights_RK.to(device)
        return self

    def sparse(self, labels_N: Tensor, rows_N: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens and weights (N, K) of labels with the rows `rows_N` of their targets."""
        ids_NK, weights_NK = self.ids_RK[rows_N], self.weights_RK[rows_N]
        hard_N = rows_N == HARD
        ids_NK[hard_N, 0] = labels_N[hard_N]
        return ids_NK, weights_NK

    def dense(self, labels_N: Tensor, rows_N: Tensor, vocabulary: int) -> Tensor:
        """The same as (N, V) float32."""
        targets_NV = torch.zeros(len(labels_N), vocabulary, device=labels_N.device)
        return targets_NV.scatter_add_(1, *self.sparse(labels_N, rows_N))


def _next(spellings: Sequence[list[int]], shares: Sequence[float], before: list[int]) -> dict[int, float]:
    """How the weight of the numbers that begin with the tokens `before` is spread over their next token."""
    row: dict[int, float] = {}
    for spelling, share in zip(spellings, shares, strict=True):
        if len(spelling) > len(before) and spelling[: len(before)] == before:
            row[spelling[len(before)]] = row.get(spelling[len(before)], 0.0) + share
    if before:
        whole = sum(row.values())
        row = {token: weight / whole for token, weight in row.items()}
    return row
