"""The text side of Kolors: captions to the states that its UNet attends to.

Kolors conditions on `hidden_states[-2]` of every position (left-padded) and pools the last position of
`hidden_states[-1]`.

Letters: N captions, T tokens, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers.pipelines.kolors import ChatGLMModel, ChatGLMTokenizer
from torch import Tensor


def tokenize(tokenizer: ChatGLMTokenizer, captions: Sequence[str], length: int) -> dict[str, Tensor]:
    """Token ids, attention mask and positions, each (N, length), as KolorsPipeline makes them."""
    batch = tokenizer(list(captions), padding="max_length", max_length=length, truncation=True, return_tensors="pt")
    return {k: batch[k] for k in ("input_ids", "attention_mask", "position_ids")}


def encode(encoder: ChatGLMModel, tokens: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """States (N, T, D) and pooled states (N, D) of tokenised captions; differentiable."""
    output = encoder(**tokens, output_hidden_states=True)
    return output.hidden_states[-2].permute(1, 0, 2), output.hidden_states[-1][-1]


@torch.no_grad()
def states(
    tokenizer: ChatGLMTokenizer, encoder: ChatGLMModel, captions: Sequence[str], length: int, batch: int = 128
) -> tuple[Tensor, Tensor]:
    """`encode` without gradients, in batches, on the encoder's device, back on the CPU."""
    device = next(encoder.parameters()).device
    all_states, all_pooled = [], []
    for i in range(0, len(captions), batch):
        tokens = tokenize(tokenizer, captions[i : i + batch], length)
        one_states, one_pooled = encode(encoder, {k: v.to(device) for k, v in tokens.items()})
        all_states.append(one_states.float().cpu())
        all_pooled.append(one_pooled.float().cpu())
    return torch.cat(all_states), torch.cat(all_pooled)


def load(folder: Path) -> tuple[ChatGLMTokenizer, ChatGLMModel]:
    """Tokenizer and frozen encoder, from the subfolders that a KolorsPipeline has."""
    tokenizer = ChatGLMTokenizer.from_pretrained(folder / "tokenizer")
    encoder = ChatGLMModel.from_pretrained(folder / "text_encoder")
    return tokenizer, encoder.eval().requires_grad_(False)
