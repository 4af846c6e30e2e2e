"""Box tokens: the null token, empty slots, dropped samples, and the three coordinate conventions."""

import pytest
import torch

from gillnext.adapter import bias
from gillnext.adapter.grounding import pad
from gillnext.adapter.model import SpatialAdapter
from gillnext.layouts import MAX_BOXES
from gillnext.runtime.errors import UserError

BLOCKS = {"mid.attentions.0.transformer_blocks.0": [12, 2, 6, 12]}
PHRASE, SIZE, PIXELS = 5, (4, 4), 16


def make(awake, **settings):
    return awake(SpatialAdapter(BLOCKS, PHRASE, width=8, **settings)).eval()


def sample(boxes, slots, seed=0):
    """One sample's boxes with a phrase embedding each, in `slots` slots."""
    padded, real = pad([boxes], slots)
    phrases = torch.zeros(1, slots, PHRASE)
    phrases[0, : len(boxes)] = torch.randn(len(boxes), PHRASE, generator=torch.Generator().manual_seed(seed))
    return padded, phrases, real


def term(adapter, padded, phrases, real, dropped=None):
    """The grounded term of the adapter's first layer for a fixed query."""
    layer = next(iter(adapter.layers.values()))
    query = torch.randn(1, PIXELS, 12, generator=torch.Generator().manual_seed(4)).expand(len(padded), -1, -1)
    return layer(query, adapter(padded, phrases, real, SIZE, dropped))


BOXES = [[0.1, 0.1, 0.5, 0.6], [0.5, 0.4, 0.9, 0.9]]
EVERY_BIAS = pytest.mark.parametrize("bias", ["none", "box", "fourier"])


@EVERY_BIAS
@torch.no_grad()
def test_the_null_token_is_always_attended(bias, awake):
    adapter = make(awake, bias=bias)
    for boxes in (BOXES, []):
        g = adapter(*sample(boxes, 3), SIZE)
        assert g.valid_BN[0].tolist() == [i < len(boxes) for i in range(3)] + [True]
        assert torch.equal(g.tokens_BND[0, -1], adapter.null)
        assert not g.map(PIXELS)[0, :, -1].any()
    empty = term(adapter, *sample([], 3))
    layer = next(iter(adapter.layers.values()))
    torch.testing.assert_close(empty, layer.to_v(adapter.null).expand_as(empty))  # all attention on it
    assert torch.isfinite(empty).all()


@EVERY_BIAS
@torch.no_grad()
def test_empty_slots_and_the_order_of_boxes_change_nothing(bias, awake):
    adapter = make(awake, bias=bias)
    one = term(adapter, *sample(BOXES, 3))
    five = term(adapter, *sample(BOXES, 7))
    torch.testing.assert_close(one, five, atol=1e-6, rtol=1e-5)
    padded, phrases, real = sample(BOXES, 7)
    order = torch.tensor([6, 1, 3, 0, 2, 5, 4])
    shuffled = term(adapter, padded[:, order], phrases[:, order], real[:, order])
    torch.testing.assert_close(one, shuffled, atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_what_stands_in_an_empty_slot_is_never_read(awake):
    adapter = make(awake, bias="fourier")
    padded, phrases, real = sample(BOXES, 4)
    expected = term(adapter, padded, phrases, real)
    padded[:, 2:], phrases[:, 2:] = torch.tensor([0.2, 0.2, 0.8, 0.8]), 7.0
    torch.testing.assert_close(term(adapter, padded, phrases, real), expected, atol=1e-6, rtol=1e-5)


@EVERY_BIAS
@torch.no_grad()
def test_a_sample_does_not_see_its_neighbours_in_the_batch(bias, awake):
    adapter = make(awake, bias=bias)
    alone = [sample(BOXES, 3), sample(BOXES[:1], 3, seed=1), sample([], 3)]
    together = term(adapter, *(torch.cat(parts) for parts in zip(*alone, strict=True)))
    for row, one in zip(together, alone, strict=True):
        torch.testing.assert_close(row, term(adapter, *one)[0], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("site", ["attn2", "gated"])
@torch.no_grad()
def test_a_dropped_sample_has_no_boxes(site, awake):
    adapter = make(awake, site=site)
    dropped = adapter(*sample(BOXES, 3), SIZE, torch.tensor([True]))
    empty = adapter(*sample([], 3), SIZE)
    assert torch.equal(dropped.tokens_BND, empty.tokens_BND)
    assert torch.equal(dropped.valid_BN, empty.valid_BN)
    assert torch.equal(dropped.map(PIXELS), empty.map(PIXELS))


def test_too_many_boxes_are_refused():
    with pytest.raises(UserError, match=f"{MAX_BOXES + 1} boxes in one layout"):
        pad([[[0.1, 0.1, 0.2, 0.2]] * (MAX_BOXES + 1)])


def coordinates(name, boxes):
    return SpatialAdapter(BLOCKS, PHRASE, width=8, coordinates=name).coordinates_of(torch.tensor(boxes))


def test_unit_coordinates_are_the_boxes_themselves():
    assert torch.equal(coordinates("unit", BOXES), torch.tensor(BOXES))


def test_raw_coordinates_are_thousandths():
    assert coordinates("raw", BOXES).tolist() == [[100, 100, 500, 600], [500, 400, 900, 900]]
    assert coordinates("raw", [[0.1234, 0.0, 0.9996, 1.0]]).tolist() == [[123, 0, 1000, 1000]]


def test_clamped_raw_coordinates_all_fall_into_one_corner():
    boxes = torch.rand(50, 4, generator=torch.Generator().manual_seed(0)) * 0.999 + 0.001
    assert torch.equal(coordinates("clamp", boxes.tolist()), torch.ones(50, 4))


@torch.no_grad()
def test_tokens_of_raw_coordinates_under_sin2pi_do_not_tell_where_a_box_is(awake):
    adapter = make(awake, coordinates="raw", frequencies="sin2pi", bias="none")
    _, phrases, real = sample(BOXES[:1], 1)
    here, there = (adapter(torch.tensor([[box]]), phrases, real, SIZE).tokens_BND[0, 0] for box in BOXES)
    assert torch.equal(here, there)
    unit = make(awake, coordinates="unit", frequencies="sin2pi", bias="none")
    here, there = (unit(torch.tensor([[box]]), phrases, real, SIZE).tokens_BND[0, 0] for box in BOXES)
    assert not torch.allclose(here, there, atol=1e-3)


@torch.no_grad()
def test_an_adapter_in_bf16_sees_where_boxes_are_as_one_in_float32_does(awake):
    """Two boxes that differ by a thousandth, which bf16 coordinates near 1 do not."""
    near = [[0.6, 0.6, 0.95, 0.95], [0.601, 0.6, 0.951, 0.95]]
    whole, half = make(awake), make(awake).to(torch.bfloat16)
    one, other = (half(*sample([box], 1), SIZE) for box in near)
    assert one.boxes_BN4.dtype == torch.float32 and not torch.equal(one.map(PIXELS), other.map(PIXELS))
    assert torch.equal(one.map(PIXELS), whole(*sample([near[0]], 1), SIZE).map(PIXELS))


@torch.no_grad()
def test_every_bias_sees_unit_boxes_whatever_the_tokens_see(awake):
    for name in ("unit", "raw", "clamp"):
        g = make(awake, coordinates=name)(*sample(BOXES, 2), SIZE)
        assert torch.equal(g.boxes_BN4[0, :2], torch.tensor(BOXES))
        assert torch.equal(g.omega_F, bias.frequencies())


@torch.no_grad()
def test_a_token_without_its_phrase_is_the_same_for_every_phrase(awake):
    named, unnamed = make(awake), make(awake, phrases=False)
    for adapter, same in ((named, False), (unnamed, True)):
        one, other = (term(adapter, *sample(BOXES, 3, seed)) for seed in (1, 2))
        assert torch.equal(one, other) == same
    moved = term(unnamed, *sample([[0.2, 0.1, 0.5, 0.6], BOXES[1]], 3))
    assert not torch.equal(moved, term(unnamed, *sample(BOXES, 3)))  # where the box is, it still knows
