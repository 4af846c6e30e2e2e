"""Arms of the base alone that get their boxes without training: text in the caption, and attention guidance."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from gillnext.adapter.pipeline import GroundedKolorsPipeline
from gillnext.config.model import Arm, Guided
from gillnext.layouts import Layout
from gillnext.miniatures.small_unet import SCHEDULE
from gillnext.runtime.errors import UserError
from gillnext.sample import guidance, stage
from gillnext.sample.captions import with_boxes

LAYERS = ("mid_block", "up_blocks")
TWO = Layout("一只猫和一棵树", ("猫", "树"), ((0.1, 0.2, 0.5, 0.62), (0.58, 0.04, 0.9, 0.81)))


def test_boxes_in_a_caption_are_whole_numbers_of_the_grid():
    assert with_boxes(TWO, 10) == "猫[1,2,5,6]和树[6,0,9,8]"
    assert with_boxes(TWO, 100) == "猫[10,20,50,62]和树[58,4,90,81]"
    assert with_boxes(Layout("天空", (), ()), 10) == "天空"


def test_the_places_of_a_name_hold_its_characters(tiny_pipeline, tiny_layouts):
    """Read back from the token ids that the text encoder gets."""
    tokenizer = tiny_pipeline.tokenizer
    length = tokenizer.model_max_length
    for row in tiny_layouts:
        ids = tokenizer(row.caption, padding="max_length", max_length=length)["input_ids"]
        for name, places in zip(row.names, guidance.token_places(tiny_pipeline, row.caption, row.names), strict=True):
            text = "".join(tokenizer.convert_ids_to_tokens([ids[i] for i in places])).replace("▁", "")
            assert name in text and len(text) < len(row.caption)
    assert guidance.token_places(tiny_pipeline, "一只猫", ["鱼"]) == [[]]


def test_the_energy_is_that_of_the_paper():
    """Against a loop: two layouts on a 4×4 map, several tokens a name."""
    maps = torch.rand(2, 16, 7, generator=torch.Generator().manual_seed(0))
    places = [[[1, 2], [4]], [[0]]]
    one = Layout("一只猫", ("猫",), ((0.3, 0.3, 0.8, 0.7),))
    found = guidance.energy(maps, [TWO, one], places)
    for i, row in enumerate((TWO, one)):
        terms = []
        for (x1, y1, x2, y2), tokens in zip(row.boxes, places[i], strict=True):
            inside = total = 0.0
            for cell in range(16):
                x, y = (cell % 4 + 0.5) / 4, (cell // 4 + 0.5) / 4
                value = sum(float(maps[i, cell, t]) for t in tokens) / len(tokens)
                total += value
                inside += value if x1 <= x <= x2 and y1 <= y <= y2 else 0.0
            terms.append((1 - inside / total) ** 2)
        assert float(found[i]) == pytest.approx(sum(terms) / len(terms), rel=1e-5)


def test_watching_changes_no_prediction(tiny_pipeline):
    unet, generator = tiny_pipeline.unet, torch.Generator().manual_seed(1)
    states, _, pooled, _ = tiny_pipeline.encode_prompt([TWO.caption], do_classifier_free_guidance=False)
    added = {"text_embeds": pooled, "time_ids": torch.zeros(1, 6)}
    noisy = torch.randn(1, 4, 16, 16, generator=generator)
    with torch.no_grad():
        plain = unet(noisy, 500, states, added_cond_kwargs=added).sample
        watched = guidance.watch(unet, LAYERS)
        again = unet(noisy, 500, states, added_cond_kwargs=added).sample
    torch.testing.assert_close(again, plain, atol=1e-5, rtol=1e-4)
    assert len(watched) >= 2
    for layer in watched:
        torch.testing.assert_close(layer.maps_BPT.sum(-1), torch.ones(layer.maps_BPT.shape[:2]))


def test_layers_that_the_unet_lacks_are_an_error_that_names_those_it_has(tiny_pipeline):
    with pytest.raises(UserError, match=r"guided\.layers") as error:
        guidance.watch(tiny_pipeline.unet, ["up_blocks.7"])
    assert "up_blocks.1" in str(error.value)


def test_moving_the_latents_lowers_the_energy(tiny_pipeline):
    pipeline, row = tiny_pipeline, TWO
    unet = pipeline.unet.requires_grad_(False)
    torch.manual_seed(0)
    for name, p in unet.named_parameters():  # sharper attention than an untrained network's
        if "attn2.to_q" in name or "attn2.to_k" in name:
            p.data.mul_(20)
    states, _, pooled, _ = pipeline.encode_prompt([row.caption], do_classifier_free_guidance=False)
    captioned = {
        "encoder_hidden_states": states,
        "added_cond_kwargs": {"text_embeds": pooled, "time_ids": torch.zeros(1, 6)},
    }
    places, watched = [guidance.token_places(pipeline, row.caption, row.names)], guidance.watch(unet, LAYERS)
    latents, energies = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(2)), []
    for _ in range(12):
        latents = guidance.move(unet, watched, latents, torch.tensor(700), captioned, [row], places, 2.0)
        energies.append(
            float(torch.stack([guidance.energy(w.maps_BPT, [row], places) for w in watched]).mean().detach())
        )
    assert energies[-1] < energies[0] - 1e-4


@pytest.mark.parametrize("way", ["caption", "guidance"])
def test_such_an_arm_draws_without_an_adapter(way, tiny, tmp_path):
    arms = tiny.config.study.arms | {"other": Arm(site="none", boxes=way)}
    guided = Guided(steps=2, iterations=1)
    cfg = dataclasses.replace(tiny.config, study=dataclasses.replace(tiny.config.study, arms=arms), guided=guided)
    rows = [row for row in tiny.layouts if row.names][:3]
    for arm in ("base", "other"):
        stage.sample(cfg, arm, 0, tiny.base, None, rows, tmp_path / arm)
    pixels = [np.stack([np.asarray(Image.open(p)) for p in sorted((tmp_path / a).glob("*.png"))]) for a in
              ("base", "other")]  # fmt: skip
    assert pixels[0].shape == pixels[1].shape == (3, 64, 64, 3)
    assert not np.array_equal(*pixels)


def test_the_moves_are_made_in_the_first_steps_at_a_rate_that_follows_the_noise(tiny, monkeypatch):
    """η·σ_t² with σ_t² = 1 − ᾱ_t of the base's scaled-linear schedule; iterations a step, steps in their share."""
    pipeline, made = GroundedKolorsPipeline.from_folders(tiny.base), []

    def record(unet, watched, latents, step, conditions, layouts, places, rate):
        made.append((int(step), rate))
        return latents

    monkeypatch.setattr(guidance, "move", record)
    settings = Guided(steps=5, share=0.6, iterations=2, scale=7.0)
    guidance.draw(pipeline, [TWO], pipeline.noise([("a", 1)]), settings, 3.0)
    root = np.linspace(SCHEDULE["beta_start"] ** 0.5, SCHEDULE["beta_end"] ** 0.5, 1000)
    kept = np.cumprod(1 - root**2)
    pipeline.scheduler.set_timesteps(5)
    first = [int(t) for t in pipeline.scheduler.timesteps[:3]]
    assert [step for step, _ in made] == [t for t in first for _ in range(2)]
    assert [rate for _, rate in made] == pytest.approx([7 * (1 - kept[t]) for t, _ in made], rel=1e-4)


def test_guidance_without_moves_is_the_pipelines_own_sampling(tiny):
    """With no gradient step it is DPM-Solver++ at the same guidance: the same pictures as `draw` of the base."""
    rows = [row for row in tiny.layouts if row.names][:2]
    pipeline = GroundedKolorsPipeline.from_folders(tiny.base)
    keys = [("a", 1), ("b", 2)]
    expected, _ = pipeline.draw([row.caption for row in rows], rows, keys=keys, steps=3, guidance=3.0)
    found = guidance.draw(pipeline, rows, pipeline.noise(keys), Guided(steps=3, share=0.0), 3.0)
    np.testing.assert_allclose(found, expected, atol=2e-3)
