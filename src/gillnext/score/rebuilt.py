"""Pictures through an autoencoder and back, a batch at a time: what a base can draw at best."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from gillnext.diffusion import latents
from gillnext.runtime.weights import variant_in

BATCH = 16  # pictures that go through together


def autoencoder(folder: Path, device: str) -> AutoencoderKL:
    """The autoencoder in `folder`, in float32, whatever variant its weights are of."""
    vae = AutoencoderKL.from_pretrained(folder, variant=variant_in(folder), dtype=torch.float32, use_safetensors=True)
    return vae.eval().to(device, memory_format=torch.channels_last)


def rebuilt(vae: AutoencoderKL, pictures: Iterable[np.ndarray], batch: int = BATCH) -> Iterator[np.ndarray]:
    """The pictures, each (H, W, 3) uint8, encoded (mean of the posterior) and decoded, in their order."""
    for _, alike in itertools.groupby(pictures, key=lambda picture: picture.shape):
        while some := list(itertools.islice(alike, batch)):
            yield from latents.decode(vae, latents.encode(vae, np.stack(some), batch), batch)
