"""Models of the real classes: loaded and saved again, from one folder to another, they have the same hashes."""

import torch
from diffusers import KolorsPipeline

from gillnext.language import model
from gillnext.verify.values import of_output


def test_a_pipeline_that_is_saved_again_elsewhere_has_the_same_values(tiny_base, tmp_path):
    pipeline = KolorsPipeline.from_pretrained(tiny_base, local_files_only=True)
    pipeline.save_pretrained(tmp_path / "results of another/base")
    before = of_output(tiny_base.parent, ["base"])
    assert of_output(tmp_path / "results of another", ["base"]) == before
    with torch.no_grad():
        next(pipeline.unet.parameters()).view(-1)[0] += 1e-6
    pipeline.save_pretrained(tmp_path / "changed/base")
    assert of_output(tmp_path / "changed", ["base"]) != before


def test_a_language_model_that_is_saved_again_elsewhere_has_the_same_values(tiny_language, tmp_path):
    network, tokenizer = model.load(tiny_language)
    model.save(network, tokenizer, tmp_path / "language", {}, "tiny")
    first = {p.name for p in tiny_language.iterdir()}
    assert first == {p.name for p in (tmp_path / "language").iterdir()}
    assert of_output(tmp_path, ["language"]) == of_output(tiny_language.parent, ["language"])
