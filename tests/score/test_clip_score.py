"""CLIP score against the cosine, computed directly with a miniature ChineseCLIPModel of random weights."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from gillnext.config.load import from_dict
from gillnext.instruments import image_text
from gillnext.miniatures import clip
from gillnext.miniatures.world import corpus
from gillnext.score import text


@pytest.fixture(scope="module")
def scorer(tmp_path_factory):
    data = corpus.make(1, "test", 12)
    torch.manual_seed(0)
    processor = clip.make_processor(data.captions)
    model = clip.make_model(len(processor.tokenizer)).eval()
    folder = tmp_path_factory.mktemp("clip")
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder, model, processor, data


def test_clip_score_is_the_mean_clipped_cosine(scorer):
    folder, model, processor, data = scorer
    score = text.clip_score(
        [(data.images[:5], data.captions[:5]), (data.images[5:], data.captions[5:])],
        lambda: image_text.for_torchmetrics(folder),
    )
    pixels = torch.from_numpy(data.images).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        image = image_text.pooled(model.get_image_features(pixel_values=(pixels - clip.MEAN) / clip.STD))
        words = image_text.pooled(model.get_text_features(**clip.tokenise(processor, data.captions)))
    cosine = torch.nn.functional.cosine_similarity(image, words)
    assert score == pytest.approx(max(100 * cosine.mean().item(), 0), abs=0.02)


def test_identical_embeddings_score_100_and_opposite_ones_0():
    class Fixed(torch.nn.Module):
        config = object()

        def __init__(self, sign):
            super().__init__()
            self.sign = sign

        def get_image_features(self, pixels):
            return torch.ones(len(pixels), 4)

        def get_text_features(self, ids, mask):
            return torch.full((len(ids), 4), self.sign)

    def processor(text=None, images=None, **_):
        if images is not None:
            return {"pixel_values": torch.stack(list(images))}
        return {"input_ids": torch.zeros(len(text), 2), "attention_mask": torch.ones(len(text), 2)}

    pictures = np.zeros((3, 8, 8, 3), np.uint8)
    for sign, expected in ((1.0, 100), (-1.0, 0)):
        score = text.clip_score([(pictures, ["树"] * 3)], lambda sign=sign: (Fixed(sign), processor))
        assert score == pytest.approx(expected, abs=1e-4)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A miniature trained for long enough that it knows pictures from captions, and pairs that it has not seen."""
    folder = tmp_path_factory.mktemp("trained") / "clip"
    settings = from_dict({"clip": {"corpus": 1500, "steps": 200, "batch": 64}})
    assert clip.train(settings, folder)["accuracy_of_16"] > 0.5
    return folder, corpus.make(1, "test", 96)


def test_what_harms_a_picture_or_its_caption_lowers_the_score(trained):
    """Captions of other pictures, and blur, step by step; half the pairs leave the mean where it is."""
    folder, data = trained

    def score(pictures, captions):
        return text.clip_score([(pictures, captions)], lambda: image_text.for_torchmetrics(folder))

    def blurred(sigma):
        return np.stack([ndimage.gaussian_filter(p, (sigma, sigma, 0)) for p in data.images])

    own = score(data.images, data.captions)
    each = [score(p[None], [c]) for p, c in zip(data.images, data.captions, strict=True)]
    assert score(data.images, data.captions[1:] + data.captions[:1]) < own - 10
    assert own > score(blurred(3), data.captions) > score(blurred(8), data.captions)
    half = score(data.images[::2], data.captions[::2])
    assert half == pytest.approx(own, abs=4 * np.std(each) / len(each[::2]) ** 0.5)
