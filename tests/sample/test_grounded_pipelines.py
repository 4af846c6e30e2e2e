"""The grounded pipelines: Kolors with adapter and planner, SDXL with adapter; guidance, noise and phrases."""

import numpy as np
import pytest
import torch

from gillnext.adapter import phrases
from gillnext.adapter.model import SpatialAdapter
from gillnext.adapter.pipeline import GroundedKolorsPipeline, GroundedSDXLPipeline
from gillnext.diffusion import chatglm
from gillnext.layouts import Layout
from gillnext.miniatures.networks.small_chatglm import HIDDEN, LENGTH

LAYOUTS = [
    Layout("一棵树和一辆车", ("树", "车"), ((0.1, 0.1, 0.5, 0.6), (0.5, 0.4, 0.9, 0.9))),
    Layout("一只猫", ("猫",), ((0.2, 0.5, 0.7, 0.95),)),
]


def adapter_for(pipeline, **settings):
    torch.manual_seed(0)
    return SpatialAdapter.for_unet(pipeline.unet, width=16, **settings).eval()


def draw(pipeline, layouts=LAYOUTS, **settings):
    captions = [layout.caption for layout in layouts]
    images, used = pipeline.draw(captions, layouts, **{"steps": 2, "output_type": "latent"} | settings)
    assert used == list(layouts)
    return images


@pytest.mark.parametrize("site", ["attn1", "attn2", "both", "gated"])
def test_boxes_are_felt_once_the_adapter_is_trained(site, tiny_pipeline, awake):
    plain = draw(tiny_pipeline)
    adapter = adapter_for(tiny_pipeline, site=site)
    tiny_pipeline.attach(adapter)
    assert torch.equal(draw(tiny_pipeline), plain)
    awake(adapter)
    here = draw(tiny_pipeline)
    moved = [Layout(row.caption, row.names, tuple((y1, x1, y2, x2) for x1, y1, x2, y2 in row.boxes)) for row in LAYOUTS]
    renamed = [Layout(row.caption, row.names[::-1], row.boxes) for row in LAYOUTS]
    assert (here - plain).abs().max() > 1e-3
    assert (draw(tiny_pipeline, moved) - here).abs().max() > 1e-4
    assert (draw(tiny_pipeline, renamed)[0] - here[0]).abs().max() > 1e-4


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@torch.no_grad()
def test_guidance_leads_away_from_the_prediction_without_caption_and_boxes(guidance, tiny_pipeline, awake):
    """One Euler-like step of the pipeline against the two predictions combined by hand."""
    tiny_pipeline.attach(awake(adapter_for(tiny_pipeline)))
    seen = []
    unet, scheduler = tiny_pipeline.unet, tiny_pipeline.scheduler
    original = scheduler.step

    def step(noise, t, latents, **settings):
        seen.append((noise, t, latents))
        return original(noise, t, latents, **settings)

    scheduler.step = step
    draw(tiny_pipeline, guidance=guidance, steps=1)
    scheduler.step = original
    ((combined, t, latents),) = seen
    captions = [row.caption for row in LAYOUTS]

    def predict(captions, layouts):
        states, pooled = chatglm.states(tiny_pipeline.tokenizer, tiny_pipeline.text_encoder, captions, LENGTH)
        ids = torch.tensor([[64.0, 64, 0, 0, 64, 64]]).repeat(len(captions), 1)
        added = {"text_embeds": pooled, "time_ids": ids}
        keywords = tiny_pipeline.grounding(layouts, guided=False)
        return unet(latents, t, states, added_cond_kwargs=added, cross_attention_kwargs=keywords).sample

    with_all = predict(captions, LAYOUTS)
    without = predict(["", ""], [Layout("", (), ())] * 2)
    torch.testing.assert_close(combined, without + guidance * (with_all - without), atol=1e-4, rtol=1e-3)


def test_a_samples_noise_has_its_name_and_not_its_place(tiny_pipeline):
    together = tiny_pipeline.noise([("a", 1), ("a", 2), ("b", 1)])
    assert torch.equal(tiny_pipeline.noise([("b", 1)])[0], together[2])
    assert len({row.sum().item() for row in together}) == 3
    assert abs(together.mean().item()) < 0.1 and abs(together.std().item() - 1) < 0.1


def test_more_boxes_in_the_neighbouring_layout_change_nothing(tiny_pipeline, awake):
    tiny_pipeline.attach(awake(adapter_for(tiny_pipeline)))
    both = draw(tiny_pipeline, keys=[(0,), (1,)])
    alone = draw(tiny_pipeline, LAYOUTS[1:], keys=[(1,)])
    torch.testing.assert_close(both[1:], alone, atol=1e-4, rtol=1e-3)


class FakePlanner:
    """Answers the layouts above and counts its calls."""

    def __init__(self):
        self.asked = []

    def plan(self, captions):
        self.asked.append(captions)
        return [Layout(c, row.names, row.boxes) for c, row in zip(captions, LAYOUTS, strict=True)]


def test_the_planner_is_asked_where_no_layout_is_given(tiny_pipeline, awake):
    tiny_pipeline.attach(awake(adapter_for(tiny_pipeline)))
    tiny_pipeline.planner = planner = FakePlanner()
    captions = [row.caption for row in LAYOUTS]
    planned, used = tiny_pipeline.draw(captions, steps=2, output_type="latent")
    assert planner.asked == [captions] and used == LAYOUTS
    assert torch.equal(planned, draw(tiny_pipeline))
    assert planner.asked == [captions]  # not asked again: the layouts were given


def test_a_caption_without_planner_and_boxes_is_drawn_by_the_base(tiny_pipeline):
    images, used = tiny_pipeline.draw(["一棵树"], steps=2)
    assert images.shape == (1, 64, 64, 3) and images.min() >= 0 and images.max() <= 1
    assert used == [Layout("一棵树", (), ())]


def test_adapter_folders_load_into_the_pipeline(tiny_base, tiny_pipeline, awake, tmp_path):
    tiny_pipeline.attach(awake(adapter_for(tiny_pipeline, bias="box")))
    expected = draw(tiny_pipeline)
    tiny_pipeline.adapter.save_pretrained(tmp_path)
    assert torch.equal(draw(GroundedKolorsPipeline.from_folders(tiny_base, tmp_path)), expected)


def test_phrases_are_the_mean_of_their_own_tokens_through_the_unets_projection(tiny_pipeline):
    found = phrases.embed(tiny_pipeline, ["树", "一只猫"])
    assert found.shape == (2, tiny_pipeline.unet.config.cross_attention_dim)
    for row, name in zip(found, ["树", "一只猫"], strict=True):
        states, _ = chatglm.states(tiny_pipeline.tokenizer, tiny_pipeline.text_encoder, [name], LENGTH)
        own = len(tiny_pipeline.tokenizer.tokenize(name))  # the last positions: padding and prefix stand on the left
        with torch.no_grad():
            expected = tiny_pipeline.unet.encoder_hid_proj(states[0, -own:].mean(0))
        torch.testing.assert_close(row, expected, atol=1e-5, rtol=1e-4)


def test_the_phrase_table_leaves_empty_slots_zero(tiny_pipeline):
    table = phrases.PhraseTable(tiny_pipeline, 3)
    found = table([["树", "猫"], ["猫"], []])
    assert found.shape == (3, 3, HIDDEN)
    assert torch.equal(found[0, 1], found[1, 0]) and found[0, :2].any(-1).all()
    assert not found[1, 1:].any() and not found[2].any()


ENGLISH = [Layout("a tree and a car", ("tree", "car"), LAYOUTS[0].boxes), Layout("a cat", ("cat",), LAYOUTS[1].boxes)]


@pytest.mark.parametrize("site", ["attn1", "attn2", "gated"])
def test_sdxl_takes_the_adapter_as_well(site, tiny_sdxl, awake):
    pipeline = GroundedSDXLPipeline.from_folders(tiny_sdxl)
    plain = draw(pipeline, ENGLISH, output_type="np")
    assert plain.shape == (2, 64, 64, 3) and np.isfinite(plain).all()
    adapter = adapter_for(pipeline, site=site)
    pipeline.attach(adapter)
    np.testing.assert_array_equal(draw(pipeline, ENGLISH, output_type="np"), plain)
    awake(adapter)
    assert np.abs(draw(pipeline, ENGLISH, output_type="np") - plain).max() > 1e-3


def test_sdxl_phrases_have_the_width_of_both_encoders(tiny_sdxl):
    pipeline = GroundedSDXLPipeline.from_folders(tiny_sdxl)
    found = phrases.embed(pipeline, ["cat", "a tree", "car"])
    assert found.shape == (3, 64) and found.isfinite().all()
    alone = phrases.embed(pipeline, ["a tree"])
    torch.testing.assert_close(found[1:2], alone, atol=1e-5, rtol=1e-4)
    states = pipeline.encode_prompt(["a tree"], do_classifier_free_guidance=False)[0]
    torch.testing.assert_close(alone, states[:, 1:6].mean(1), atol=1e-5, rtol=1e-4)  # 5 letters after the start
    assert not phrases.embed(pipeline, [""]).any()  # no token of its own
