"""At Kolors' own size, on the meta device: all 70 transformer blocks, and what the adapter weighs against the UNet."""

import pytest
import torch
from diffusers import UNet2DConditionModel

from gillnext.adapter.model import SITES, SpatialAdapter, transformer_blocks
from gillnext.memory.kolors import UNET


@pytest.fixture(scope="module")
def kolors():
    with torch.device("meta"):
        return UNet2DConditionModel(**UNET)


def make(unet, **settings):
    with torch.device("meta"):
        return SpatialAdapter.for_unet(unet, **settings)


def share(unet, **settings):
    adapter = make(unet, **settings)
    return sum(p.numel() for p in adapter.parameters()) / sum(p.numel() for p in unet.parameters())


def test_the_meta_unet_is_kolors_in_size(kolors):
    # SDXL's published 2,567,463,684 parameters, the text projection, and 4096 instead of 1280 pooled channels.
    sdxl, projection, pooled = 2_567_463_684, 4096 * 2048 + 2048, (5632 - 2816) * 1280
    assert sum(p.numel() for p in kolors.parameters()) == sdxl + projection + pooled


@pytest.mark.parametrize("site", SITES)
def test_all_seventy_blocks_are_found_and_injected(site, kolors):
    assert len(transformer_blocks(kolors)) == 70
    injected = make(kolors, site=site).inject(kolors)
    SpatialAdapter.remove(kolors)
    assert len(injected) == (140 if site == "both" else 70)
    last = {"gated": "fuser", "both": "attn2"}.get(site, site)
    assert f"down_blocks.1.attentions.0.transformer_blocks.0.{last}" in injected
    assert f"mid_block.attentions.0.transformer_blocks.9.{last}" in injected
    assert f"up_blocks.0.attentions.2.transformer_blocks.9.{last}" in injected


def test_the_adapter_is_small_at_kolors_size_and_gligens_own_blocks_are_not(kolors):
    # 2·width·inner for each of 10 blocks of 640 and 60 of 1280 channels, and under 0.6 M for the tokens.
    attention = 2 * 128 * (10 * 640 + 60 * 1280)
    found = sum(p.numel() for p in make(kolors, site="attn2", bias="none").parameters())
    assert 0 < found - attention < 600_000
    assert share(kolors, site="attn2") < 0.05
    assert share(kolors, site="both") < 0.05
    assert share(kolors, site="gated") > 0.5
