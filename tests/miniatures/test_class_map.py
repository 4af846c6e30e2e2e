"""The auxiliary class map of the base: where it says an object is, the picture shows it; it leaves nothing behind."""

import numpy as np
import pytest
import torch

from gillnext.miniatures import small_unet
from gillnext.miniatures.class_map import ClassMapHead, class_map
from gillnext.miniatures.networks.small_chatglm import HIDDEN
from gillnext.miniatures.world import scenes
from gillnext.miniatures.world.classes import CLASSES


def test_a_cell_has_the_class_of_the_object_whose_ellipse_holds_its_centre():
    """Against a loop over cells and objects, in the order of painting."""
    for index in range(20):
        scene = scenes.sample(7, "val", index)
        found = class_map(scene, 16).numpy()
        for row in range(16):
            for column in range(16):
                x, y, expected = (column + 0.5) / 16, (row + 0.5) / 16, 0
                for thing in scene.objects:
                    x1, y1, x2, y2 = thing.box
                    distance = ((x - (x1 + x2) / 2) / ((x2 - x1) / 2)) ** 2 + (
                        (y - (y1 + y2) / 2) / ((y2 - y1) / 2)
                    ) ** 2
                    if distance <= 1.1:
                        expected = 1 + CLASSES.index(thing.kind)
                assert found[row, column] == expected


def test_the_map_covers_most_of_what_is_painted():
    """Nearly all pixels that differ from the empty background lie under a class, and most of those under one differ."""
    hits = []
    for index in range(30):
        scene = scenes.sample(11, "val", index)
        empty = scenes.render(scenes.Scene(scene.top, scene.bottom, ()))
        painted = np.abs(scenes.render(scene).astype(int) - empty).max(-1) > 12
        under = class_map(scene, 64).numpy() > 0
        hits.append(((painted & under).sum() / painted.sum(), (painted & under).sum() / under.sum()))
    recall, precision = np.mean(hits, 0)
    assert recall > 0.9 and precision > 0.6


def test_the_head_reads_the_features_at_the_latents_resolution_and_lets_go():
    torch.manual_seed(0)
    unet = small_unet.build_unet((32, 32, 32))
    names = set(unet.state_dict())
    head = ClassMapHead(unet)
    x, states = torch.randn(2, 4, 16, 16), torch.randn(2, 5, HIDDEN)
    added = {"text_embeds": torch.randn(2, HIDDEN), "time_ids": torch.zeros(2, 6)}
    unet(x, 500, states, added_cond_kwargs=added)
    maps = torch.randint(len(CLASSES) + 1, (2, 16, 16))
    loss = head.loss(maps)
    logits = torch.einsum("kc,bchw->bkhw", head.logits.weight[:, :, 0, 0], head.features_BKHW)
    logits = logits + head.logits.bias[None, :, None, None]
    picked = logits.log_softmax(1).gather(1, maps[:, None])
    assert loss.item() == pytest.approx(-picked.mean().item(), rel=1e-5)
    loss.backward()
    assert unet.conv_in.weight.grad.abs().sum() > 0 and unet.conv_out.weight.grad is None
    assert set(unet.state_dict()) == names
    head.release()
    before = head.features_BKHW
    unet(x, 500, states, added_cond_kwargs=added)
    assert head.features_BKHW is before
