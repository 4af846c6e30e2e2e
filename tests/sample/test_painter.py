"""One painter draws what fresh models draw, whatever it drew before: with an adapter, another, or none."""

import dataclasses

import numpy as np
import pytest
import torch

from gillnext.adapter.model import SpatialAdapter
from gillnext.adapter.pipeline import UNET, load
from gillnext.layouts import Layout
from gillnext.runtime.errors import UserError
from gillnext.sample.painter import Painter

LAYOUT = Layout("一只猫和一棵树", ("猫", "树"), ((0.1, 0.3, 0.5, 0.8), (0.6, 0.1, 0.95, 0.6)))


@pytest.fixture(scope="module")
def adapters(tmp_path_factory, tiny_base, awake):
    """Folders of an adapter at attn2, one at attn1, and one with a UNet of its own."""
    found = []
    for name, site in (("cross", "attn2"), ("self", "attn1"), ("whole", "attn2")):
        torch.manual_seed(0)
        unet = load(tiny_base).unet
        folder = tmp_path_factory.mktemp("painter") / name
        awake(SpatialAdapter.for_unet(unet, width=16, site=site)).save_pretrained(folder)
        if name == "whole":
            torch.nn.init.normal_(unet.conv_in.weight, std=0.3)
            unet.save_pretrained(folder / UNET)
        found.append(folder)
    return found


def test_what_was_drawn_before_leaves_no_trace(tiny, adapters, tmp_path):
    def painter():
        return Painter(tiny.config, tiny.base, tmp_path / "no planner")

    def draw(by, adapter):
        return by.paint(LAYOUT, adapter, seed=3, steps=2, guidance=3.0)

    every = [None, *adapters]
    fresh = [draw(painter(), adapter) for adapter in every]
    assert all((a != b).any() for i, a in enumerate(fresh) for b in fresh[:i])
    one = painter()
    for i in (1, 0, 3, 2, 1, 3, 0):
        np.testing.assert_array_equal(draw(one, every[i]), fresh[i])
    assert len(one.pipelines) == 2  # the base's UNet, and that of the third
    assert one.pipelines[None].vae is one.pipelines[adapters[2]].vae


def test_an_adapter_that_is_not_there_is_told(tiny, tmp_path):
    with pytest.raises(UserError, match="no adapter there"):
        Painter(tiny.config, tiny.base, tmp_path / "no planner").pipeline(tmp_path / "no adapter")


def test_a_layout_without_boxes_is_remarked_on(tiny, tmp_path):
    painter = Painter(tiny.config, tiny.base, tmp_path / "no planner")
    assert painter.remarks(LAYOUT) == []
    assert painter.remarks(dataclasses.replace(LAYOUT, names=(), boxes=()))[0].startswith("there are no boxes")
