"""Pipelines load by the names that the locked libraries want: a renamed argument would be warned of."""

import warnings

import pytest
import torch

from gillnext.adapter.encoder import Encoder
from gillnext.adapter.pipeline import load
from gillnext.score.rebuilt import autoencoder

LOADERS = {
    "to draw": load,
    "to encode": lambda folder: Encoder(folder, "cpu", torch.float32),
    "its autoencoder": lambda folder: autoencoder(folder / "vae", "cpu"),
}


@pytest.mark.parametrize("what", LOADERS)
@pytest.mark.parametrize("base", ["tiny_base", "tiny_sdxl"])
def test_loading_warns_of_no_renamed_argument(base, what, request):
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)  # how diffusers' `deprecate` tells of a name that will go
        warnings.simplefilter("error", DeprecationWarning)
        LOADERS[what](request.getfixturevalue(base))
