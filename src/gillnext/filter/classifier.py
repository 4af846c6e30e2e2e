"""The caption classifier: a causal LM that answers 强, 弱 or 无 (strong, weak, none).

The answer is the label whose token is the likeliest next one, so that any causal LM can play the part.

Letters: B prompts, D width of the states, 3 labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F
from transformers import PreTrainedTokenizerBase

from gillnext.filter.prompts import LABELS, label_tokens, prompt
from gillnext.language import batching, model
from gillnext.language.lengths import by_length
from gillnext.language.prefix import Prefix, shared

_MAX_TOKENS = 192  # of a caption; what stands behind is not read
_SHARED = 16  # tokens; prompts with a longer beginning in common have it computed once


class Classifier:
    """A causal LM with its tokenizer, asked for one of LABELS."""

    def __init__(self, network: Any, tokenizer: PreTrainedTokenizerBase) -> None:
        self.network, self.tokenizer = network.eval(), tokenizer
        self.words, self.head = label_tokens(tokenizer), network.get_output_embeddings()

    @classmethod
    def from_pretrained(cls, folder: Path | str, device: str = "cpu") -> Classifier:
        return cls(*model.load(folder, device))

    def encode(self, captions: Sequence[str]) -> list[list[int]]:
        """Token ids of the prompts, of captions cut after `_MAX_TOKENS` characters."""
        prompts = [prompt(c[:_MAX_TOKENS], self.tokenizer) for c in captions]
        return self.tokenizer(prompts, add_special_tokens=False).input_ids if prompts else []

    def log_likelihoods(self, captions: Sequence[str], batch: int = 256) -> np.ndarray:
        """(N, 3) log-likelihoods of the labels in the order of LABELS, among the three; float64."""
        tokens = self.encode(captions)
        scores = np.zeros((len(tokens), len(LABELS)))
        for rows in by_length([len(t) for t in tokens], batch):
            scores[rows] = self._answer([tokens[i] for i in rows])
        return scores

    @cached_property
    def _beginning(self) -> Prefix | None:
        """What the prompts of different captions begin with; None where that is short."""
        tokens = shared(self.encode(["左", "A b", "1"]))
        return Prefix.of(self.network.base_model, tokens) if len(tokens) > _SHARED else None

    @torch.inference_mode()
    def _answer(self, tokens: list[list[int]]) -> np.ndarray:
        """By the labels' own rows of the head, in float32: logits of a bfloat16 head stand 0.125 apart, and tie."""
        begin, pad, head = self._beginning, self.tokenizer.pad_token_id, self.head
        if begin and begin.begins(tokens):
            given = begin.inputs(tokens, pad)
        else:
            given = batching.inputs(tokens, pad, self.network.device) | {"use_cache": False}
        states_BD = self.network.base_model(**given).last_hidden_state[:, -1].float()
        bias = None if head.bias is None else head.bias[self.words].float()
        logits_B3 = F.linear(states_BD, head.weight[self.words].float(), bias)
        return F.log_softmax(logits_B3.double(), dim=-1).cpu().numpy()

    def label(self, captions: Sequence[str], batch: int = 256) -> list[str]:
        """The likeliest of strong, weak, none for each caption."""
        names = list(LABELS)
        return [names[int(i)] for i in self.log_likelihoods(captions, batch).argmax(1)]
