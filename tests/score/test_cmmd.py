"""CMMD against a double loop, its known properties, and embeddings against the model called by hand."""

import math

import numpy as np
import pytest
import torch

from gillnext.instruments import image_text
from gillnext.miniatures import clip
from gillnext.miniatures.world import corpus
from gillnext.score import cmmd


def unit(rng, count, width, shift=0.0):
    rows = rng.normal(shift, 1, (count, width))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def brute_cmmd(a, b):
    def mean(xs, ys):
        pairs = [math.exp(-sum((p - q) ** 2 for p, q in zip(x, y, strict=True)) / 200) for x in xs for y in ys]
        return math.fsum(pairs) / len(pairs)

    return 1000 * (mean(a, a) + mean(b, b) - 2 * mean(a, b))


def test_cmmd_is_the_double_loop():
    rng = np.random.default_rng(0)
    a, b = unit(rng, 15, 6), unit(rng, 22, 6, 0.4)
    # A wrong σ, a missing factor 2, or pairs without the diagonal all differ by far more than this.
    assert cmmd.cmmd(a, b) == pytest.approx(brute_cmmd(a.tolist(), b.tolist()), rel=1e-8)


def test_cmmd_of_two_points_is_the_formula():
    # Opposite unit vectors are 2 apart: 1000 · 2 (1 − exp(−4 / 200)).
    a, b = np.array([[1.0, 0.0]]), np.array([[-1.0, 0.0]])
    assert cmmd.cmmd(a, b) == pytest.approx(2000 * (1 - math.exp(-0.02)), rel=1e-9)


def test_cmmd_is_symmetric_nil_for_a_set_against_itself_and_grows_with_the_shift():
    rng = np.random.default_rng(1)
    a, near, far = unit(rng, 80, 8), unit(rng, 80, 8, 0.3), unit(rng, 80, 8, 1.0)
    assert cmmd.cmmd(a, a) == pytest.approx(0, abs=1e-9)
    assert cmmd.cmmd(a, near) == pytest.approx(cmmd.cmmd(near, a), rel=1e-9)
    assert 0 < cmmd.cmmd(a, near) < cmmd.cmmd(a, far)


def test_embeddings_are_the_models_own_at_unit_length(tmp_path):
    data = corpus.make(1, "test", 7)
    torch.manual_seed(0)
    processor = clip.make_processor(data.captions)
    model = clip.make_model(len(processor.tokenizer)).eval()
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    got = cmmd.embed([data.images[:4], data.images[4:]], lambda: image_text.for_torchmetrics(tmp_path))
    pixels = (torch.from_numpy(data.images).permute(0, 3, 1, 2).float() / 255 - clip.MEAN) / clip.STD
    with torch.no_grad():
        expected, _ = clip.embed_images(model, pixels)
    assert got.dtype == np.float64
    assert np.allclose(got, expected.numpy(), atol=1e-5)
