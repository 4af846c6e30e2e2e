"""The adapter in a UNet: an untrained one changes nothing, removal restores, the UNet's own weights stay."""

import pytest
import torch
from diffusers import UNet2DModel
from diffusers.models.attention_processor import AttnProcessor2_0

from gillnext.adapter.grounding import pad
from gillnext.adapter.model import SITES, SpatialAdapter, transformer_blocks
from gillnext.diffusion import objective
from gillnext.miniatures import small_unet
from gillnext.miniatures.networks.small_chatglm import HIDDEN
from gillnext.runtime.errors import UserError

BOXES = [[[0.1, 0.1, 0.5, 0.6], [0.5, 0.4, 0.9, 0.9]], [[0.2, 0.5, 0.7, 0.95]]]
EVERY_SITE = pytest.mark.parametrize("site", SITES)


@pytest.fixture(scope="module")
def original():
    torch.manual_seed(0)
    return small_unet.build_unet((32, 64, 64)).eval()


@pytest.fixture
def unet(original):
    SpatialAdapter.remove(original)
    yield original
    SpatialAdapter.remove(original)


@torch.no_grad()
def predict(unet, adapter=None, slots=3):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, 4, 16, 16, generator=generator)
    states = torch.randn(2, 5, HIDDEN, generator=generator)
    pooled = torch.randn(2, HIDDEN, generator=generator)
    phrases = torch.randn(2, 3, HIDDEN, generator=generator)
    keywords = None
    if adapter is not None:
        boxes, real = pad(BOXES, slots)
        phrases = torch.cat([phrases, torch.zeros(2, slots - 3, HIDDEN)], 1)
        keywords = adapter.keywords(adapter(boxes, phrases, real, (16, 16)))
    added = {"text_embeds": pooled, "time_ids": objective.size_conditions(2, 64)}
    return unet(x, torch.tensor([500, 20]), states, added_cond_kwargs=added, cross_attention_kwargs=keywords).sample


def adapter_for(unet, **settings):
    torch.manual_seed(2)
    return SpatialAdapter.for_unet(unet, width=16, **settings).eval()


@EVERY_SITE
def test_an_untrained_adapter_changes_nothing(site, unet):
    before = predict(unet)
    adapter = adapter_for(unet, site=site)
    adapter.inject(unet)
    assert torch.equal(predict(unet, adapter), before)


@EVERY_SITE
def test_a_trained_adapter_is_felt_and_removal_restores(site, unet, awake):
    before = predict(unet)
    adapter = awake(adapter_for(unet, site=site))
    adapter.inject(unet)
    assert (predict(unet, adapter) - before).abs().max() > 1e-3
    adapter.remove(unet)
    assert torch.equal(predict(unet), before)
    assert {type(p) for p in unet.attn_processors.values()} == {AttnProcessor2_0}


@EVERY_SITE
def test_the_unet_keeps_its_own_parameters_and_state(site, unet):
    before, names = {k: v.clone() for k, v in unet.state_dict().items()}, [k for k, _ in unet.named_parameters()]
    adapter_for(unet, site=site).inject(unet)
    assert unet.state_dict().keys() == before.keys()
    assert all(torch.equal(v, before[k]) for k, v in unet.state_dict().items())
    assert [k for k, _ in unet.named_parameters()] == names


@pytest.mark.parametrize("bias", ["none", "box", "fourier"])
@pytest.mark.parametrize("site", ["attn1", "attn2", "both"])
def test_empty_slots_never_reach_the_prediction(site, bias, unet, awake):
    adapter = awake(adapter_for(unet, site=site, bias=bias))
    adapter.inject(unet)
    torch.testing.assert_close(predict(unet, adapter, 3), predict(unet, adapter, 6), atol=1e-5, rtol=1e-4)


@EVERY_SITE
def test_a_saved_adapter_predicts_the_same(site, unet, awake, tmp_path):
    adapter = awake(adapter_for(unet, site=site, bias="fourier", coordinates="raw", frequencies="sin2pi"))
    adapter.inject(unet)
    expected = predict(unet, adapter)
    adapter.save_pretrained(tmp_path / "adapter")
    assert {p.suffix for p in (tmp_path / "adapter").iterdir()} == {".safetensors", ".json"}
    loaded = SpatialAdapter.from_pretrained(tmp_path / "adapter").eval()
    assert {k: v for k, v in loaded.config.items() if k[0] != "_"} == {
        k: v for k, v in adapter.config.items() if k[0] != "_"
    }
    loaded.inject(unet)
    assert torch.equal(predict(unet, loaded), expected)


def parameters(unet, **settings):
    return sum(p.numel() for p in adapter_for(unet, **settings).parameters())


@pytest.mark.parametrize("bias", ["none", "fourier"])
def test_the_ablated_sites_have_the_same_budget_and_the_gated_one_more(bias, unet):
    attn1, attn2, both = (parameters(unet, site=site, bias=bias) for site in ("attn1", "attn2", "both"))
    assert attn1 == attn2
    assert both == pytest.approx(attn2, rel=0.02)
    assert parameters(unet, site="gated") > 1.5 * attn2


@EVERY_SITE
def test_every_injected_layer_is_listed_with_its_parameters(site, unet):
    own = sum(p.numel() for p in unet.parameters())
    adapter = adapter_for(unet, site=site)
    injected = adapter.inject(unet)
    blocks = transformer_blocks(unet)
    assert len(injected) == len(blocks) * (2 if site == "both" else 1) == len(adapter.layers)
    listing = adapter.listing(unet)
    lines = listing.splitlines()
    for name in injected:
        assert sum(line.split()[0] == name.removesuffix(".fuser") for line in lines) == 1
    assert f"{len(injected)} layers injected at {site}" in listing
    total = sum(p.numel() for p in adapter.parameters())
    assert f"{total:,} ({total / own:.2%} of the UNet's {own:,})" in listing


def test_a_unet_without_transformer_blocks_is_refused():
    plain = UNet2DModel(
        sample_size=8,
        block_out_channels=(8, 8),
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
        norm_num_groups=4,
        add_attention=False,
    )
    with pytest.raises(ValueError, match="no transformer block"):
        SpatialAdapter.for_unet(plain)


@EVERY_SITE
def test_a_unet_that_lacks_a_layer_is_refused_and_left_alone(site, unet):
    adapter = adapter_for(unet, site=site)
    smaller = small_unet.build_unet((32, 64))
    before = dict(smaller.attn_processors)
    with pytest.raises(UserError, match="7 transformer blocks, this UNet has 4"):
        adapter.inject(smaller)
    assert smaller.attn_processors == before
    assert not any(hasattr(block, "fuser") for block in transformer_blocks(smaller).values())


def test_an_unknown_site_is_refused(unet):
    with pytest.raises(ValueError, match="unknown injection site 'attn3'"):
        adapter_for(unet, site="attn3")


def test_a_second_adapter_takes_the_place_of_the_first(unet, awake):
    first, second = awake(adapter_for(unet, site="gated")), awake(adapter_for(unet, site="attn2"))
    second.inject(unet)
    expected = predict(unet, second)
    first.inject(unet)
    second.inject(unet)
    assert torch.equal(predict(unet, second), expected)


def test_gradient_checkpointing_leaves_prediction_and_gradient_alone(unet, awake):
    gradients = []
    for checkpointed in (False, True):
        adapter = awake(adapter_for(unet, site="both"))
        unet.requires_grad_(False).train(checkpointed)
        unet.enable_gradient_checkpointing() if checkpointed else unet.disable_gradient_checkpointing()
        adapter.inject(unet)
        with torch.enable_grad():
            predict.__wrapped__(unet, adapter).square().mean().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in adapter.parameters()]))
    unet.disable_gradient_checkpointing()
    unet.eval()
    torch.testing.assert_close(*gradients, atol=1e-6, rtol=1e-4)
