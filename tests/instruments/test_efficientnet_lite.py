"""EfficientNet-Lite0 out of its package: its weights by their hash, its arithmetic, and that it classifies."""

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from gillnext.instruments import efficientnet_lite as lite
from gillnext.instruments.convert import tensors
from gillnext.runtime.errors import UserError

MILITARY_UNIFORM = 652  # of ImageNet's classes


@pytest.fixture(scope="module")
def state():
    return tensors(lite.weights_file())


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lite0") / "lite0"
    lite.write(folder)
    return lite.EfficientNetLite0.from_pretrained(folder)


def plain(state, x):
    """The published network, tensor by tensor as the package names them: convolution, batch norm, ReLU6."""

    def layer(x, convolution, norm, stride=1, bounded=True):
        weight = state[f"{convolution}.weight"]
        kernel, out = weight.shape[-1], -(-x.shape[-1] // stride)
        more = max((out - 1) * stride + kernel - x.shape[-1], 0)
        x = F.conv2d(
            F.pad(x, [more // 2, more - more // 2] * 2), weight, stride=stride,
            groups=1 if weight.shape[1] > 1 or len(weight) == 1 else x.shape[1],
        )  # fmt: skip
        parts = (state[f"{norm}.{k}"] for k in ("running_mean", "running_var", "weight", "bias"))
        x = F.batch_norm(x, *parts, eps=1e-3)
        return F.relu6(x) if bounded else x

    x = layer(x, "_conv_stem", "_bn0", 2)
    strides = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1]
    for i, stride in enumerate(strides):
        block = f"_blocks.{i}."
        y = layer(x, f"{block}_expand_conv", f"{block}_bn0") if i else x
        y = layer(y, f"{block}_depthwise_conv", f"{block}_bn1", stride)
        y = layer(y, f"{block}_project_conv", f"{block}_bn2", bounded=False)
        x = x + y if stride == 1 and x.shape == y.shape else y
    return layer(x, "_conv_head", "_bn1").mean((2, 3))


def test_the_package_has_the_published_number_of_parameters(state):
    counted = [t.numel() for name, t in state.items() if "running" not in name and "tracked" not in name]
    assert sum(counted) == 4_652_008


@torch.no_grad()
def test_features_are_those_of_the_unfolded_network(network, state):
    x = torch.randint(0, 256, (2, 3, 64, 64), generator=torch.Generator().manual_seed(0)).float()
    found, expected = network(x), plain(state, (x - 127) / 128)
    assert found.shape == (2, 1280)
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()


@torch.no_grad()
def test_it_tells_what_a_photograph_shows(network, state):
    path = matplotlib.get_data_path() + "/sample_data/grace_hopper.jpg"
    picture = network.prepare(np.asarray(Image.open(path).convert("RGB")))
    assert picture.shape == (lite.SIDE, lite.SIDE, 3)
    features = network(torch.from_numpy(picture).permute(2, 0, 1)[None])
    scores = features @ state["_fc.weight"].t() + state["_fc.bias"]
    assert scores.argmax().item() == MILITARY_UNIFORM


def test_a_package_that_is_not_there_or_is_another_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(lite, "PACKAGE", "no_such_package_anywhere")
    with pytest.raises(UserError, match="is not installed"):
        lite.weights_file()
    (tmp_path / "other_weights/models").mkdir(parents=True)
    (tmp_path / "other_weights/__init__.py").write_text("")
    (tmp_path / "other_weights" / lite.FILE).write_bytes(b"other")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(lite, "PACKAGE", "other_weights")
    with pytest.raises(UserError, match="not the published weights"):
        lite.weights_file()
