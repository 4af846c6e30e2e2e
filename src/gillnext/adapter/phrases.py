"""Phrase embeddings: what the box tokens know of their object's name, from the frozen text encoder.

The mean of the text states over the phrase's tokens, in the UNet's cross-attention width: through the UNet's own
`encoder_hid_proj` where it has one (Kolors, 4096 → 2048), as they are in SDXL.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import DiffusionPipeline
from torch import Tensor

PREFIX = 2  # ChatGLM puts [gMASK] and sop before every text


def text_length(pipeline: DiffusionPipeline) -> int:
    """Tokens of a caption: the tokenizer's own limit, or Kolors' 256."""
    limit = pipeline.tokenizer.model_max_length
    return limit if limit < 100_000 else 256


@torch.no_grad()
def _kolors(pipeline: DiffusionPipeline, phrases: Sequence[str]) -> Tensor:
    tokens = pipeline.tokenizer(
        list(phrases), padding="max_length", max_length=text_length(pipeline), truncation=True, return_tensors="pt"
    ).to(pipeline.text_encoder.device)
    keys = ("input_ids", "attention_mask", "position_ids")
    output = pipeline.text_encoder(**{k: tokens[k] for k in keys}, output_hidden_states=True)
    states = output.hidden_states[-2].permute(1, 0, 2)
    weight = tokens["attention_mask"].to(states) * (tokens["position_ids"] >= PREFIX)
    return (states * weight[..., None]).sum(1) / weight.sum(1, keepdim=True).clamp(min=1)


@torch.no_grad()
def _sdxl(pipeline: DiffusionPipeline, phrases: Sequence[str]) -> Tensor:
    states = pipeline.encode_prompt(list(phrases), do_classifier_free_guidance=False)[0]
    tokenizer = pipeline.tokenizer
    tokens = tokenizer(
        list(phrases), padding="max_length", max_length=states.shape[1], truncation=True, return_tensors="pt"
    )
    special = torch.isin(tokens["input_ids"], torch.tensor(tokenizer.all_special_ids))  # start, end, padding
    weight = (~special).to(states)
    return (states * weight[..., None]).sum(1) / weight.sum(1, keepdim=True).clamp(min=1)


@torch.no_grad()
def embed(pipeline: DiffusionPipeline, phrases: Sequence[str]) -> Tensor:
    """(K, C) embeddings of K phrases, C the UNet's cross-attention width, on the UNet's device."""
    chatglm = hasattr(pipeline.tokenizer, "get_prefix_tokens")
    states = _kolors(pipeline, phrases) if chatglm else _sdxl(pipeline, phrases)
    projection = pipeline.unet.encoder_hid_proj
    return projection(states) if projection is not None else states


class PhraseTable:
    """Embeddings of names, computed once each. `table(names)` gives (B, slots, C) for ragged lists of names."""

    def __init__(self, pipeline: DiffusionPipeline, slots: int) -> None:
        self.pipeline, self.slots = pipeline, slots
        self.known: dict[str, Tensor] = {}

    def __call__(self, names: Sequence[Sequence[str]]) -> Tensor:
        for new in sorted({n for sample in names for n in sample} - self.known.keys()):
            self.known[new] = embed(self.pipeline, [new])[0]  # alone: batches of other sizes round otherwise
        width = self.pipeline.unet.config.cross_attention_dim
        parameter = next(self.pipeline.unet.parameters())
        table = parameter.new_zeros(len(names), self.slots, width)
        for i, sample in enumerate(names):
            for j, name in enumerate(sample):
                table[i, j] = self.known[name]
        return table
