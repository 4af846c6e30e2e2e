"""The feature network: training smoke, folder, and its use as clean-fid's feature extractor."""

import numpy as np
import pytest
import torch
from PIL import Image

from gillnext.config.load import from_dict
from gillnext.score import features
from gillnext.score.features import FeatureNetwork
from gillnext.world import corpus

SETTINGS = from_dict({"features": {"corpus": 24, "steps": 4, "batch": 8}})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("features") / "features"
    scores = features.train(SETTINGS, out)
    assert 0 <= scores["class_sets"] <= 1 and 0 <= scores["counts"] <= 1
    return out


@pytest.fixture(scope="module")
def data():
    return corpus.make(5, "tiny", 10)


def test_training_twice_gives_the_same_weights(folder, tmp_path):
    features.train(SETTINGS, tmp_path / "again")
    assert (tmp_path / "again/model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()


def test_features_are_a_row_an_image_whatever_the_batch(folder, data):
    model = FeatureNetwork.from_pretrained(folder)
    whole = model.features(data.images, 10)
    assert whole.shape == (10, 64) and whole.dtype == np.float32
    assert np.allclose(whole, model.features(data.images, 3), atol=1e-5)
    assert not any(p.requires_grad for p in model.parameters())


def test_half_of_the_features_are_means_and_half_are_maxima():
    grid = torch.arange(2 * 3 * 3.0).reshape(1, 2, 3, 3)
    assert features.pool(grid).tolist() == [[4.0, 17.0]]


def test_clean_fid_runs_on_them(folder, data, tmp_path):
    """The distance through clean-fid's folders equals the formula on the same features."""
    from cleanfid import fid
    from scipy.linalg import sqrtm

    model = FeatureNetwork.from_pretrained(folder)
    sets = {"a": data.images[:5], "b": data.images[5:]}
    for name, images in sets.items():
        (tmp_path / name).mkdir()
        for i, image in enumerate(images):
            Image.fromarray(image).save(tmp_path / name / f"{i}.png")
    got = fid.compute_fid(
        str(tmp_path / "a"), str(tmp_path / "b"), custom_feat_extractor=model, custom_fn_resize=lambda x: x,
        device=torch.device("cpu"), use_dataparallel=False, num_workers=0, verbose=False, batch_size=5,
    )  # fmt: skip
    x, y = (model.features(images).astype(np.float64) for images in sets.values())
    sx, sy = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    cross = np.real(np.trace(sqrtm(sx @ sy + 1e-12 * np.eye(64))))
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(sx) + np.trace(sy) - 2 * cross
    assert got == pytest.approx(expected, rel=0.02, abs=1e-3)
