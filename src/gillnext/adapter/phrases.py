"""Phrase embeddings: what the box tokens know of their object's name, from the frozen text encoder.

The mean of the text states over the phrase's tokens, in the UNet's cross-attention width: through the UNet's own
`encoder_hid_proj` where it has one (Kolors, 4096 → 2048), as they are in SDXL.

Letters: K phrases, T tokens, D width of the text states, B samples, N box slots, C width of the UNet's cross-attention.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import DiffusionPipeline, UNet2DConditionModel
from torch import Tensor, nn

PREFIX = 2  # ChatGLM puts [gMASK] and sop before every text


def text_length(pipeline: DiffusionPipeline) -> int:
    """Tokens of a caption: the tokenizer's own limit, or Kolors' 256."""
    limit = pipeline.tokenizer.model_max_length
    return limit if limit < 100_000 else 256


@torch.no_grad()
def _kolors(pipeline: DiffusionPipeline, phrases: Sequence[str]) -> Tensor:
    tokens = pipeline.tokenizer(
        list(phrases), padding="max_length", max_length=text_length(pipeline), truncation=True, return_tensors="pt"
    ).to(pipeline._execution_device)  # where an offloaded text encoder computes
    keys = ("input_ids", "attention_mask", "position_ids")
    output = pipeline.text_encoder(**{k: tokens[k] for k in keys}, output_hidden_states=True)
    states_KTD = output.hidden_states[-2].permute(1, 0, 2)
    weight_KT = tokens["attention_mask"].to(states_KTD) * (tokens["position_ids"] >= PREFIX)
    return (states_KTD * weight_KT[..., None]).sum(1) / weight_KT.sum(1, keepdim=True).clamp(min=1)


@torch.no_grad()
def _sdxl(pipeline: DiffusionPipeline, phrases: Sequence[str]) -> Tensor:
    states_KTD = pipeline.encode_prompt(list(phrases), do_classifier_free_guidance=False)[0]
    tokenizer = pipeline.tokenizer
    tokens = tokenizer(
        list(phrases), padding="max_length", max_length=states_KTD.shape[1], truncation=True, return_tensors="pt"
    )
    special = torch.isin(tokens["input_ids"], torch.tensor(tokenizer.all_special_ids))  # start, end, padding
    weight_KT = (~special).to(states_KTD)
    return (states_KTD * weight_KT[..., None]).sum(1) / weight_KT.sum(1, keepdim=True).clamp(min=1)


def _projection(unet: UNet2DConditionModel) -> nn.Module | None:
    """What takes text states to the width of the UNet's cross-attention. An IP-Adapter puts its own in that place."""
    if (kept := getattr(unet, "text_encoder_hid_proj", None)) is not None:
        return kept
    return unet.encoder_hid_proj if unet.config.encoder_hid_dim_type == "text_proj" else None


@torch.no_grad()
def embed(pipeline: DiffusionPipeline, phrases: Sequence[str]) -> Tensor:
    """(K, C) embeddings of K phrases, C the UNet's cross-attention width, on the device where the pipeline computes."""
    device = pipeline._execution_device
    chatglm = hasattr(pipeline.tokenizer, "get_prefix_tokens")
    states_KD = (_kolors(pipeline, phrases) if chatglm else _sdxl(pipeline, phrases)).to(pipeline.unet.dtype)
    if (projection := _projection(pipeline.unet)) is None:
        return states_KD.to(device)
    place = next(projection.parameters()).device  # the CPU where the whole UNet is offloaded; meta where its layers are
    return projection(states_KD if place.type == "meta" else states_KD.to(place)).to(device)


class PhraseTable:
    """Embeddings of names, computed once each. `table(names)` gives (B, N, C) for ragged lists of names."""

    def __init__(self, pipeline: DiffusionPipeline, slots: int) -> None:
        self.pipeline, self.slots = pipeline, slots
        self.known: dict[str, Tensor] = {}
        self.made_for: tuple[torch.device, torch.dtype] | None = None

    def __call__(self, names: Sequence[Sequence[str]], slots: int | None = None) -> Tensor:
        """`slots`: of the result; None: the table's own number."""
        place = self.pipeline._execution_device, self.pipeline.unet.dtype
        if place != self.made_for:  # the pipeline has moved, or has another type
            self.known, self.made_for = {}, place
        for new in sorted({n for sample in names for n in sample} - self.known.keys()):
            self.known[new] = embed(self.pipeline, [new])[0]  # alone: batches of other sizes round otherwise
        width = self.pipeline.unet.config.cross_attention_dim
        table_BNC = torch.zeros(len(names), slots or self.slots, width, device=place[0], dtype=place[1])
        for i, sample in enumerate(names):
            for j, name in enumerate(sample):
                table_BNC[i, j] = self.known[name]
        return table_BNC
