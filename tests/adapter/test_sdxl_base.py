"""From layouts to pictures on a base of SDXL's class: cache, training and sampling take it as they take Kolors'."""

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from diffusers import StableDiffusionXLPipeline
from PIL import Image

from gillnext.adapter import encode, train
from gillnext.adapter.cache import Cache
from gillnext.adapter.pipeline import GroundedSDXLPipeline, load
from gillnext.sample import stage as sample


@pytest.fixture(scope="module")
def cache(tmp_path_factory, tiny_config, tiny_sdxl, tiny_layouts):
    folder = tmp_path_factory.mktemp("sdxl") / "cache"
    encode.build(tiny_config, tiny_sdxl, tiny_layouts, folder)
    return folder


@pytest.mark.parametrize("zeros", [True, False])
def test_a_dropped_caption_is_what_guidance_pairs_with(tiny_config, tiny_sdxl, tiny_layouts, tmp_path, zeros):
    """As the pipeline itself encodes no negative prompt."""
    pipeline = StableDiffusionXLPipeline.from_pretrained(tiny_sdxl, force_zeros_for_empty_prompt=zeros)
    pipeline.save_pretrained(tmp_path / "base")
    encode.build(tiny_config, tmp_path / "base", tiny_layouts[:2], tmp_path / "cache")
    negative = None if zeros else ""
    _, states, _, pooled = pipeline.encode_prompt("一只猫", negative_prompt=negative, do_classifier_free_guidance=True)
    found = Cache.load(tmp_path / "cache")
    assert torch.equal(found.empty_states, states[0]) and torch.equal(found.empty_pooled, pooled[0])
    assert bool(found.empty_states.any()) is not zeros


def test_it_trains_an_adapter_that_its_pictures_follow(tiny_config, tiny_sdxl, tiny_layouts, cache, tmp_path):
    AcceleratorState._reset_state(reset_partial_state=True)
    train.train(tiny_config, "attn2", 0, tiny_sdxl, [cache], tmp_path / "adapter")
    AcceleratorState._reset_state(reset_partial_state=True)
    rows = tiny_layouts[:2]
    for name, adapter in (("attn2", tmp_path / "adapter"), ("base", None)):
        sample.sample(tiny_config, name, 0, tiny_sdxl, adapter, rows, tmp_path / name)
    pipeline = load(tiny_sdxl, tmp_path / "adapter")
    assert isinstance(pipeline, GroundedSDXLPipeline) and pipeline.adapter is not None
    drawn = {name: np.asarray(Image.open(tmp_path / name / "00000.png"), int) for name in ("attn2", "base")}
    assert drawn["attn2"].shape == (pipeline.image_size, pipeline.image_size, 3)
    assert np.abs(drawn["attn2"] - drawn["base"]).max() > 0
