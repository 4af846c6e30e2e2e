"""The losses of a GILL step, one function each: `loss(gill, batch)` is a scalar, a mean over the batch.

`TASKS` generates through the UNet; `MATCHED` trains the mapper as GILL itself does and runs no UNet."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from gillnext.gill.batches import Batch
from gillnext.gill.model import Gill
from gillnext.language.batching import IGNORE


def captioning(gill: Gill, batch: Batch) -> Tensor:
    """Cross-entropy of the caption after the picture's prefix, padding left out.

    The mean over each caption's tokens, then over captions, so that micro-batches of captions of any length add up.
    """
    logits_BLW = gill.caption_logits(batch.named, batch.captions)
    targets_BL = batch.captions.ids.masked_fill(batch.captions.mask == 0, IGNORE)
    each_BL = F.cross_entropy(
        rearrange(logits_BLW, "b l w -> b w l"), targets_BL, ignore_index=IGNORE, reduction="none"
    )
    return (each_BL.sum(1) / batch.captions.mask.sum(1)).mean()


def info_nce(picture_BE: Tensor, text_BE: Tensor, logit_scale: Tensor) -> Tensor:
    """Symmetric InfoNCE (van den Oord et al., 2018; Radford et al., 2021) of unit embeddings with one temperature.

    Each picture finds its text among the batch's and each text its picture: not a sum over samples.
    """
    logits_BB = logit_scale.exp().clamp(max=100) * picture_BE @ text_BE.T
    own_B = torch.arange(len(logits_BB), device=logits_BB.device)
    return (F.cross_entropy(logits_BB, own_B) + F.cross_entropy(logits_BB.T, own_B)) / 2


def retrieval(gill: Gill, batch: Batch, everyones: Callable[[Tensor], Tensor] = lambda own: own) -> Tensor:
    """InfoNCE between pictures and what was said, with the learned temperature.

    `everyones` gives the embeddings of all processes' samples for those of this one's (`trainer.everyones`).
    """
    pictures_BE = everyones(gill.picture_embedding(batch.features))
    return info_nce(pictures_BE, everyones(gill.text_embedding(batch.texts)), gill.logit_scale)


def generation(gill: Gill, batch: Batch) -> Tensor:
    """The frozen UNet's denoising loss, conditioned on the mapper's states and, through the adapter, on boxes."""
    assert gill.denoiser is not None and batch.denoising is not None
    states_BTC, pooled_BP = gill.text_states(batch.texts)
    return gill.denoiser(dataclasses.replace(batch.denoising, states=states_BTC, pooled=pooled_BP))


def matching(gill: Gill, batch: Batch, variances: tuple[float, float] | None = None) -> Tensor:
    """GILL's own generation loss: the mapper's squared distance to the text encoder's states and pooled state.

    `variances` of these two over captions make it a share of what is to be explained: 1 each for their means.
    """
    states_BTC, pooled_BP = gill.text_states(batch.texts)
    states, pooled = F.mse_loss(states_BTC, batch.states), F.mse_loss(pooled_BP, batch.pooled)
    return states + pooled if variances is None else states / variances[0] + pooled / variances[1]


TASKS: dict[str, Callable[[Gill, Batch], Tensor]] = {
    "captioning": captioning,
    "retrieval": retrieval,
    "generation": generation,
}
MATCHED = TASKS | {"generation": matching}
