"""The grounded term of one attention layer against a softmax written out in plain Python."""

import dataclasses
import math

import pytest
import torch
from einops import rearrange

from gillnext.adapter import bias as bias_
from gillnext.adapter.bias import NULL_LEVEL, frequencies
from gillnext.adapter.grounding import Grounding
from gillnext.adapter.processors import SiteLayer

HEADS, INNER, WIDTH = 2, 12, 8
SIZE = (4, 2)  # latent height and width
PIXELS = 8


def grounding(bias):
    generator = torch.Generator().manual_seed(3)
    boxes = torch.tensor([[[0.1, 0.1, 0.6, 0.5], [0.5, 0.5, 0.9, 1.0], [0.0] * 4, [0.0] * 4]]).repeat(2, 1, 1)
    boxes[1, 0] = torch.tensor([0.05, 0.7, 0.3, 0.8])
    return Grounding(
        tokens_BND=torch.randn(2, 4, WIDTH, generator=generator),
        boxes_BN4=boxes,
        valid_BN=torch.tensor([[True, True, False, True], [True, False, False, True]]),
        bias=bias,
        size=SIZE,
        omega_F=frequencies(),
    )


def expected_bias(bias, box, x, y, strength):
    """Bias of one pixel for one real box: docs/adapter.md."""
    x1, y1, x2, y2 = box
    cx, cy = (x1 + x2) / 2, (y1 + y2) / 2
    if bias == "none":
        return 0.0
    if bias == "fourier":
        waves = [math.cos((4 * math.pi) ** (k / 7) * d) for k in range(8) for d in (x - cx, y - cy)]
        return strength * (sum(waves) / len(waves) - NULL_LEVEL)
    centres = [((j + 0.5) / SIZE[1], (i + 0.5) / SIZE[0]) for i in range(SIZE[0]) for j in range(SIZE[1])]
    nearest = min((px - cx) ** 2 + (py - cy) ** 2 for px, py in centres)
    here = (x - cx) ** 2 + (y - cy) ** 2 <= nearest + 1e-9
    return 0.0 if (x1 <= x <= x2 and y1 <= y <= y2) or here else -math.inf


def explicit(layer, query, g, part):
    """Loops over samples, heads, pixels and tokens."""
    width = INNER // HEADS
    out = torch.zeros_like(query)
    tokens = g.tokens_BND[..., part]
    keys, values = tokens @ layer.to_k.weight.T, tokens @ layer.to_v.weight.T
    for b in range(len(query)):
        for p in range(PIXELS):
            x, y = (p % SIZE[1] + 0.5) / SIZE[1], (p // SIZE[1] + 0.5) / SIZE[0]
            for h in range(HEADS):
                cut = slice(h * width, (h + 1) * width)
                strength = layer.s()[h].item() if layer.strength is not None else 0.0
                logits = []
                for n in range(4):
                    if not g.valid_BN[b, n]:
                        logits.append(-math.inf)
                        continue
                    null = n == 3
                    bias = 0.0 if null else expected_bias(g.bias, g.boxes_BN4[b, n].tolist(), x, y, strength)
                    logits.append((query[b, p, cut] @ keys[b, n, cut]).item() / math.sqrt(width) + bias)
                weights = [math.exp(v - max(logits)) for v in logits]
                for n in range(4):
                    out[b, p, cut] += weights[n] / sum(weights) * values[b, n, cut]
    return out


@pytest.mark.parametrize("bias", ["none", "box", "fourier"])
@pytest.mark.parametrize("part", [(0, 8), (4, 8)])
@torch.no_grad()
def test_layer_is_attention_with_the_bias_in_its_logits(bias, part):
    layer = SiteLayer(part[1] - part[0], INNER, HEADS, bias, part)
    for i, parameter in enumerate(layer.parameters()):
        torch.nn.init.normal_(parameter, std=0.7, generator=torch.Generator().manual_seed(i))
    query = torch.randn(2, PIXELS, INNER, generator=torch.Generator().manual_seed(9))
    g = grounding(bias)
    torch.testing.assert_close(layer(query, g), explicit(layer, query, g, slice(*part)), atol=1e-5, rtol=1e-5)


def test_only_the_fourier_bias_has_a_strength_one_for_each_head():
    assert SiteLayer(8, INNER, HEADS, "fourier", (0, 8)).strength.shape == (HEADS,)
    assert SiteLayer(8, INNER, HEADS, "box", (0, 8)).strength is None


def test_an_untrained_layer_adds_exactly_nothing():
    layer = SiteLayer(WIDTH, INNER, HEADS, "fourier", (0, WIDTH))
    assert not layer(torch.randn(2, PIXELS, INNER), grounding("fourier")).any()


def shares(query, g, precision):
    """(B, H, P, N) attention of a layer whose keys are 0 and whose values tell the slots apart, in a precision."""
    slots = g.tokens_BND.shape[1]
    layer = SiteLayer(slots, 2 * slots, 2, "fourier", (0, slots))
    with torch.no_grad():
        layer.to_k.weight.zero_()
        layer.to_v.weight.copy_(torch.eye(slots).repeat(2, 1))
    if precision == "bf16 weights":
        layer, query = layer.to(torch.bfloat16), query.to(torch.bfloat16)
        g = dataclasses.replace(g, tokens_BND=g.tokens_BND.to(torch.bfloat16))
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "autocast"):
        out = layer(query, g)
    assert out.dtype == query.dtype
    return rearrange(out.double(), "b p (h n) -> b h p n", h=2)


@pytest.mark.parametrize("precision", ["float32", "autocast", "bf16 weights"])
@torch.no_grad()
def test_bf16_moves_no_share_of_attention(precision):
    """Against a softmax in float64 of 60 times the proximities; random boxes, six and the null token."""
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(40, 7, 2, 2, generator=generator).sort(-2).values
    boxes = corners.flatten(-2)
    g = Grounding(torch.eye(7).expand(40, -1, -1), boxes, torch.ones(40, 7).bool(), "fourier", (8, 8), frequencies())
    found = shares(torch.zeros(40, 64, 14), g, precision)
    proximity_BPN = bias_.proximity(bias_.pixel_centres(8, 8).double(), boxes.double(), frequencies().double())
    proximity_BPN[..., -1] = NULL_LEVEL
    wanted = (bias_.STRENGTH * proximity_BPN).softmax(-1)
    rounding = 2**-9 if precision != "float32" else 0  # of the output, where that is bf16
    torch.testing.assert_close(found, wanted[:, None].expand_as(found), atol=1e-5 + rounding, rtol=0)


@pytest.mark.parametrize(("size", "pixels", "grid"), [((16, 16), 64, (8, 8)), ((8, 4), 8, (4, 2)), ((3, 12), 9, None)])
def test_attention_maps_have_the_latents_aspect_ratio(size, pixels, grid):
    g = grounding("none")
    g.size = size
    if grid is None:
        with pytest.raises(ValueError, match="aspect 3:12"):
            g.grid(pixels)
        return
    assert g.grid(pixels) == grid
