"""Embeddings of the image-text scorer, against the one that CMMD takes and against one text at a time."""

import numpy as np
import pytest
import torch
from PIL import Image

from gillnext.chat.similarity import ImageText
from gillnext.instruments.image_text import for_torchmetrics
from gillnext.miniatures import clip
from gillnext.score import cmmd

TEXTS = ["一只猫", "一棵树和一座房子", "一只猫" * 60]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    processor = clip.make_processor(TEXTS)
    clip.make_model(len(processor.tokenizer)).save_pretrained(root)
    processor.save_pretrained(root)
    return root


def test_pictures_are_embedded_as_files_and_as_arrays_of_any_size(folder, tmp_path):
    rng = np.random.default_rng(1)
    pixels = [rng.integers(0, 256, (side, 64, 3), dtype=np.uint8) for side in (64, 48, 64)]
    for i, one in enumerate(pixels):
        Image.fromarray(one).save(tmp_path / f"{i}.png")
    model = ImageText(folder)
    expected = cmmd.embed([[one] for one in pixels], lambda: for_torchmetrics(folder))
    np.testing.assert_allclose(model.pictures(pixels), expected, atol=1e-5)
    np.testing.assert_allclose(model.pictures([tmp_path / f"{i}.png" for i in range(3)]), expected, atol=1e-5)
    assert model.pictures([]).shape == (0, expected.shape[1])


def test_texts_are_embedded_whatever_stands_beside_them_and_long_ones_counted(folder):
    model = ImageText(folder)
    together = model.texts(TEXTS)
    for i, text in enumerate(TEXTS):
        np.testing.assert_allclose(together[i], model.texts([text])[0], atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1)
    np.testing.assert_allclose(together[2], model.texts(["一只猫" * 50])[0], atol=1e-5)  # its end is not read
    assert model.too_long(TEXTS) == 1
