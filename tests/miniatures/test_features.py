"""The feature network: training smoke, folder, and its use as clean-fid's feature extractor."""

import numpy as np
import pytest
import torch
from PIL import Image

from gillnext.config.load import from_dict
from gillnext.miniatures import features
from gillnext.miniatures.networks.features import FeatureNetwork, pooled
from gillnext.miniatures.world import corpus
from gillnext.miniatures.world.classes import CLASSES

SETTINGS = from_dict({"features": {"corpus": 24, "steps": 4, "batch": 8}})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("features") / "features"
    features.train(SETTINGS, out)
    return out


@pytest.fixture(scope="module")
def data():
    return corpus.make(5, "tiny", 10)


def test_the_targets_are_the_classes_and_the_number_of_a_scenes_objects(data):
    which, count = features.targets(data)
    for i, scene in enumerate(data.scenes):
        here = {thing.kind.id for thing in scene.objects}
        assert [bool(v) for v in which[i]] == [k in here for k in range(len(CLASSES))]
        assert int(count[i]) + 1 == len(scene.objects)
    assert len(set(count.tolist())) > 1


class Says(torch.nn.Module):
    """A head with answers of its own, whatever the features."""

    def __init__(self, answers):
        super().__init__()
        self.answers = answers

    def forward(self, features):
        return self.answers


def test_validation_is_the_share_of_scenes_that_are_told_exactly(data, folder):
    """Answers of the network are put in: all right, then one class and two counts wrong."""
    model = FeatureNetwork.from_pretrained(folder)
    which, count = features.targets(data)
    sets, counts = which * 2 - 1, torch.nn.functional.one_hot(count, len(CLASSES)).float()
    model.which, model.count = Says(sets), Says(counts)
    assert features.validate(model, data) == {"n": 10, "class_sets": 1.0, "counts": 1.0}
    sets[3, 0] *= -1
    counts[:2] = counts[:2].roll(1, dims=1)
    assert features.validate(model, data) == {"n": 10, "class_sets": 0.9, "counts": 0.8}


def test_the_network_learns_what_stands_in_a_few_scenes(data):
    torch.manual_seed(0)
    model, (which, count) = FeatureNetwork(len(CLASSES), 4).train(), features.targets(data)
    cells, pictures = features.box_class_maps(data, features.CELLS), torch.from_numpy(data.images).permute(0, 3, 1, 2)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    before = features.validate(model, data)
    for _ in range(60):
        model.train()
        optimiser.zero_grad()
        features.loss(model, model.grid(pictures.float()), which, count, cells).backward()
        optimiser.step()
    assert before["class_sets"] < 0.5
    assert features.validate(model, data) == {"n": 10, "class_sets": 1.0, "counts": 1.0}


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
    assert pooled(grid).tolist() == [[4.0, 17.0]]


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
