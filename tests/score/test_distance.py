"""The second KID: against the formula, the real pictures kept with what they are of, and how it reaches the tables."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from gillnext.config.model import Config
from gillnext.runtime.errors import UserError
from gillnext.score import distance, fid_kid


class Means(torch.nn.Module):
    """Features (B, 6): mean and deviation of each channel, of pictures that keep their size."""

    description = "means"

    def forward(self, pixels_BCHW):
        return torch.cat([pixels_BCHW.mean((2, 3)), pixels_BCHW.std((2, 3))], 1) / 255

    @staticmethod
    def prepare(image):
        return image.astype(np.float32)


def pictures(folder, seed, count=12):
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    made = rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    for i, picture in enumerate(made):
        Image.fromarray(picture).save(folder / f"{i:05d}.png")
    return made


def mmd2(a, b):
    """The unbiased estimate, pair by pair."""
    k = lambda x, y: (x @ y / len(x) + 1) ** 3  # noqa: E731
    n, m = len(a), len(b)
    aa = sum(k(a[i], a[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    bb = sum(k(b[i], b[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return aa + bb - 2 * sum(k(x, y) for x in a for y in b) / (n * m)


def test_it_is_kid_of_the_networks_features_to_the_kept_ones(tmp_path):
    network, config = Means(), Config()
    sets = {name: pictures(tmp_path / "reference" / name, seed) for seed, name in enumerate(("others", "real", "vae"))}
    drawn = pictures(tmp_path / "drawn", 9)
    known = tmp_path / "real.safetensors"
    real, vae = distance.ceilings(tmp_path / "reference", network, "w", known, config, tmp_path / "out")
    report = distance.distance(tmp_path / "drawn", network, "w", known, config, "attn2", 0)
    reference = fid_kid.features_of_images(sets["others"], network)
    for found, made in ((real, sets["real"]), (vae, sets["vae"]), (report, drawn)):
        expected = mmd2(fid_kid.features_of_images(made, network), reference)
        assert found["metrics"]["kid_lite0"] == pytest.approx(expected, abs=2e-6)
        assert found["n"] == 12 and not any("fid" in key for key in found["metrics"])
    assert json.loads((tmp_path / "out/vae.json").read_text())["metrics"] == vae["metrics"]
    with pytest.raises(UserError, match="of another network"):
        distance.distance(tmp_path / "drawn", network, "other", known, config, "attn2", 0)
    with pytest.raises(UserError, match="no features of real pictures"):
        distance.known(tmp_path / "none", "w")
