"""Grow the first convolution of a UNet, so that it sees frames beside the noisy latents.

A UNet with C latent channels that reads F frames has C + C·F channels in. From one that reads none (text to image) the
new weights are zero, as InstructPix2Pix begins (Brooks et al., 2023). From one that reads a single picture with weights
W, each of F frames gets W / F:

    Σ_k (W / F) ∗ z_k = W ∗ z        where all z_k = z,

so that F equal frames give what the model of one gives, to float error, whatever F is.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import nn

from gillnext.runtime.errors import UserError


def frames_of(unet: UNet2DConditionModel) -> int:
    """How many frames a UNet reads beside the noisy latents; `UserError` where its channels are no multiple."""
    channels, latent = unet.config.in_channels, unet.config.out_channels
    if channels % latent or channels < latent:
        what = f"{channels} channels in for latents of {latent}"
        raise UserError(what, where="conv_in", remedy="a UNet that reads latents, or latents and frames")
    return channels // latent - 1


@torch.no_grad()
def grow(unet: UNet2DConditionModel, frames: int) -> UNet2DConditionModel:
    """Have `unet` read `frames` frames; in place. `UserError` where it reads another number of several."""
    there, latent = frames_of(unet), unet.config.out_channels
    if frames < 1:
        raise UserError(f"{frames} frames", where="frames.count", remedy="1 or more")
    if there == frames:
        return unet
    if there > 1:
        what = f"it reads {there} frames, and {frames} are asked for"
        raise UserError(what, where="conv_in", remedy=f"frames.count: {there}, or a model of one frame to grow")
    old: Any = unet.conv_in
    new = nn.Conv2d(
        latent * (1 + frames), old.out_channels, old.kernel_size, old.stride, old.padding, bias=old.bias is not None,
        device=old.weight.device, dtype=old.weight.dtype,
    )  # fmt: skip
    new.weight.zero_()
    new.weight[:, :latent] = old.weight[:, :latent]
    if there == 1:
        new.weight[:, latent:] = old.weight[:, latent:].repeat(1, frames, 1, 1) / frames
    if old.bias is not None and new.bias is not None:
        new.bias.copy_(old.bias)
    unet.conv_in = new.requires_grad_(old.weight.requires_grad)
    unet.register_to_config(in_channels=latent * (1 + frames))
    return unet
