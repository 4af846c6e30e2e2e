"""Pictures through an autoencoder and back, a batch at a time: what a base can draw at best."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import numpy as np
from diffusers import AutoencoderKL

from gillnext.diffusion import latents

BATCH = 16  # pictures that go through together


def rebuilt(vae: AutoencoderKL, pictures: Iterable[np.ndarray], batch: int = BATCH) -> Iterator[np.ndarray]:
    """The pictures, each (H, W, 3) uint8, encoded (mean of the posterior) and decoded, in their order."""
    for _, alike in itertools.groupby(pictures, key=lambda picture: picture.shape):
        while some := list(itertools.islice(alike, batch)):
            yield from latents.decode(vae, latents.encode(vae, np.stack(some), batch), batch)
