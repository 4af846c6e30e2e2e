"""Instance-local attention against loops over pixels and slots, at every size of map."""

import dataclasses
import math

import pytest
import torch

from gillnext.adapter import bias as bias_
from gillnext.adapter.grounding import Grounding
from gillnext.adapter.processors import SiteLayer

HEADS, INNER, WIDTH, SLOTS = 2, 12, 8, 4
SIZES = [(8, 8), (4, 4), (2, 2), (6, 3)]  # of the map; the latents have 8 × 8 or 12 × 6 cells
BIASES = ["none", "box", "fourier"]


def grounding(bias, size=(8, 8), local=True):
    """Four samples with four, two, one and no box; corners are random, so that many overlap."""
    generator = torch.Generator().manual_seed(5)
    corners = torch.rand(4, SLOTS + 1, 2, 2, generator=generator).sort(-2).values
    boxes, valid = corners.flatten(-2), torch.zeros(4, SLOTS + 1, dtype=torch.bool)
    boxes[1, 1] = torch.tensor([0.4, 0.4, 0.42, 0.42])  # no centre of a pixel lies in it
    boxes[1, 2:SLOTS] = torch.tensor([0.0, 0.0, 1.0, 1.0])  # padding that would hold everything
    for sample, count in enumerate((4, 2, 1, 0)):
        valid[sample, :count] = True
    valid[:, -1] = True
    tokens = torch.randn(4, SLOTS + 1, WIDTH, generator=generator)
    return Grounding(tokens, boxes, valid, bias, size, bias_.frequencies(), local=local)


def layer_of(bias):
    layer = SiteLayer(WIDTH, INNER, HEADS, bias, (0, WIDTH))
    for i, parameter in enumerate(layer.parameters()):
        torch.nn.init.normal_(parameter, std=0.7, generator=torch.Generator().manual_seed(i))
    return layer


def holders(boxes, valid, x, y, centres):
    """The slots whose box has a pixel: the pixel's centre lies in it, or is the nearest to the box's."""
    found = []
    for n, (x1, y1, x2, y2) in enumerate(boxes[:-1]):
        cx, cy = (x1 + x2) / 2, (y1 + y2) / 2
        nearest = min((px - cx) ** 2 + (py - cy) ** 2 for px, py in centres)
        here = (x - cx) ** 2 + (y - cy) ** 2 <= nearest + 1e-9
        if valid[n] and ((x1 <= x <= x2 and y1 <= y <= y2) or here):
            found.append(n)
    return found


def explicit(layer, query, g, height, width):
    """The attended slots of each pixel, and a softmax over these written out."""
    out, size = torch.zeros_like(query), INNER // HEADS
    keys, values = g.tokens_BND @ layer.to_k.weight.T, g.tokens_BND @ layer.to_v.weight.T
    centres = [((j + 0.5) / width, (i + 0.5) / height) for i in range(height) for j in range(width)]
    plain = bias_.levels(g.bias, torch.tensor(centres), g.boxes_BN4, g.valid_BN, g.omega_F)
    for b, boxes in enumerate(g.boxes_BN4.tolist()):
        for p, (x, y) in enumerate(centres):
            own = holders(boxes, g.valid_BN[b], x, y, centres)
            attended = own or [n for n in range(SLOTS + 1) if plain[b, p, n] > -math.inf]
            for h in range(HEADS):
                cut, s = slice(h * size, (h + 1) * size), 1.0 if layer.strength is None else layer.s()[h].item()
                logits = [
                    (query[b, p, cut] @ keys[b, n, cut]).item() / math.sqrt(size) + s * plain[b, p, n].item()
                    for n in attended
                ]
                weights = [math.exp(logit - max(logits)) for logit in logits]
                for weight, n in zip(weights, attended, strict=True):
                    out[b, p, cut] += weight / sum(weights) * values[b, n, cut]
    return out


@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize(("height", "width"), SIZES)
@torch.no_grad()
def test_a_pixel_attends_to_the_boxes_that_it_lies_in_and_to_nothing_else(bias, height, width):
    layer, g = layer_of(bias), grounding(bias, (12, 6) if height != width else (8, 8))
    query = torch.randn(4, height * width, INNER, generator=torch.Generator().manual_seed(9))
    torch.testing.assert_close(layer(query, g), explicit(layer, query, g, height, width), atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("bias", BIASES)
@torch.no_grad()
def test_one_box_over_everything_leaves_its_token_alone(bias):
    layer, g = layer_of(bias), grounding(bias)
    g.boxes_BN4[2, 0] = torch.tensor([0.0, 0.0, 1.0, 1.0])
    found = layer(torch.randn(4, 64, INNER), g)[2]
    torch.testing.assert_close(found, layer.to_v(g.tokens_BND[2, :1]).expand(64, -1), atol=1e-6, rtol=1e-6)
    assert (layer(torch.randn(4, 64, INNER), dataclasses.replace(g, local=False))[2] - found).abs().max() > 0.01


@pytest.mark.parametrize("bias", BIASES)
@torch.no_grad()
def test_empty_slots_are_never_attended_and_without_boxes_nothing_changes(bias):
    layer, g, query = layer_of(bias), grounding(bias), torch.randn(4, 64, INNER)
    found = layer(query, g)
    g.tokens_BND[~g.valid_BN] = 1e6
    assert torch.equal(layer(query, g), found)
    plain = layer(query, dataclasses.replace(g, local=False, _maps={}))
    assert torch.equal(found[3], plain[3])  # no box: the unguided half of a batch, too
    assert (found[:3] - plain[:3]).flatten(1).abs().amax(1).min() > 0.01


@torch.no_grad()
def test_a_grounding_goes_from_local_to_plain_with_the_maps_of_both():
    layer, g, query = layer_of("fourier"), grounding("fourier"), torch.randn(4, 64, INNER)
    local, plain = layer(query, g), layer(query, grounding("fourier", local=False))
    for wanted in (plain, local, plain):
        g.local = wanted is local
        assert torch.equal(layer(query, g), wanted)


@torch.no_grad()
def test_bf16_weights_attend_to_the_same_slots():
    """Against the same in float32 of what bf16 makes of tokens, queries and weights."""
    layer, g, query = layer_of("fourier").bfloat16(), grounding("fourier"), torch.randn(4, 64, INNER).bfloat16()
    g.tokens_BND = g.tokens_BND.bfloat16()
    exact = layer_of("fourier")
    exact.load_state_dict({name: value.float() for name, value in layer.state_dict().items()})
    wanted = exact(query.float(), dataclasses.replace(g, tokens_BND=g.tokens_BND.float()))
    found = layer(query, g)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), wanted, atol=0.03, rtol=0.02)
    inside = bias_.inside(bias_.pixel_centres(8, 8), g.boxes_BN4)[2, :, 0]  # of one box: no softmax is left
    alone = layer.to_v(g.tokens_BND[2, :1]).expand(64, -1)
    assert torch.equal(found[2, inside], alone[inside])
