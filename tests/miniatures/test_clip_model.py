"""The image-text scorer: training smoke, and a folder that the real classes read."""

import pytest
import torch
from transformers import ChineseCLIPModel, ChineseCLIPProcessor

from gillnext.config.load import from_dict
from gillnext.instruments import image_text
from gillnext.miniatures import clip
from gillnext.miniatures.world import corpus

SETTINGS = from_dict({"clip": {"corpus": 32, "steps": 4, "batch": 8}})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("clip") / "clip"
    scores = clip.train(SETTINGS, out)
    assert 0 <= scores["accuracy_of_16"] <= 1
    return out


def test_training_twice_gives_the_same_weights(folder, tmp_path):
    clip.train(SETTINGS, tmp_path / "again")
    assert (tmp_path / "again/model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()


def test_the_folder_holds_a_chinese_clip_with_its_processor(folder):
    model, processor = ChineseCLIPModel.from_pretrained(folder), ChineseCLIPProcessor.from_pretrained(folder)
    data = corpus.make(1, "tiny", 3)
    inputs = processor(text=data.captions, images=list(data.images), return_tensors="pt", padding=True)
    with torch.no_grad():
        assert model(**inputs).logits_per_image.shape == (3, 3)
    pixels = (torch.from_numpy(data.images).permute(0, 3, 1, 2).float() / 255 - clip.MEAN) / clip.STD
    assert torch.allclose(inputs["pixel_values"], pixels, atol=1e-5), "training and processor normalise alike"
    assert (
        processor.tokenizer.decode(inputs["input_ids"][0], skip_special_tokens=True).replace(" ", "")
        == data.captions[0]
    )


def test_every_name_of_the_world_is_in_the_vocabulary():
    from gillnext.miniatures.world.classes import CLASSES

    processor = clip.make_processor(corpus.make(1, "clip", 300).captions)
    unknown = processor.tokenizer.unk_token_id
    for kind in CLASSES:
        assert unknown not in processor.tokenizer(kind.phrase)["input_ids"]


def test_for_torchmetrics_gives_the_embedding_itself(folder):
    model, processor = image_text.for_torchmetrics(folder)
    tokens = clip.tokenise(processor, ["一只猫"])
    got = model.get_text_features(**tokens)
    plain = ChineseCLIPModel.from_pretrained(folder).eval()
    with torch.no_grad():
        assert torch.allclose(got, image_text.pooled(plain.get_text_features(**tokens)))


def test_pairs_that_name_the_same_set_share_the_probability():
    image = torch.nn.functional.normalize(torch.tensor([[1.0, 0.1], [1.0, 0.0], [0.0, 1.0]]), dim=-1)
    scale = torch.tensor(3.0)
    alike = clip.contrastive(image, image, scale, [("猫", "树"), ("树", "猫"), ("花",)])
    apart = clip.contrastive(image, image, scale, [("猫",), ("树",), ("花",)])
    logits = scale.exp() * image @ image.T
    expected = torch.nn.functional.cross_entropy(logits, torch.arange(3))
    assert apart.item() == pytest.approx(expected.item(), rel=1e-5)
    rows = torch.log_softmax(logits, 1)
    by_hand = -(rows[0, :2].mean() + rows[1, :2].mean() + rows[2, 2]) / 3
    assert alike.item() == pytest.approx(by_hand.item(), rel=1e-5)
