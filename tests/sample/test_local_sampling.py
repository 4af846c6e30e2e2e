"""Instance-local sampling: which steps are local, and what they leave alone."""

import dataclasses

import numpy as np
import pytest
import torch
from diffusers.callbacks import PipelineCallback
from PIL import Image

from gillnext.adapter import local
from gillnext.adapter.model import SpatialAdapter
from gillnext.config.model import Arm
from gillnext.layouts import Layout
from gillnext.runtime.errors import UserError
from gillnext.sample import stage

LAYOUTS = [
    Layout("一棵树和一辆车", ("树", "车"), ((0.1, 0.1, 0.5, 0.6), (0.3, 0.4, 0.9, 0.9))),
    Layout("一只猫", ("猫",), ((0.2, 0.5, 0.7, 0.95),)),
]


@pytest.fixture
def pipeline(tiny_pipeline, awake):
    tiny_pipeline.attach(awake(SpatialAdapter.for_unet(tiny_pipeline.unet, width=16)).eval())
    return tiny_pipeline


def draw(pipeline, **settings):
    captions = [layout.caption for layout in LAYOUTS]
    return pipeline.draw(captions, LAYOUTS, **{"steps": 4, "output_type": "latent"} | settings)[0]


def watched(pipeline, **settings):
    """Of each step whether it was local, what the UNet was called with and what it predicted."""
    steps = []

    def note(_, args, keywords, out):
        told = keywords["cross_attention_kwargs"]["grounding"]
        steps.append((told.local, (args[0].clone(), *args[1:]), keywords, out[0].clone()))

    handle = pipeline.unet.register_forward_hook(note, with_kwargs=True)
    draw(pipeline, **settings)
    handle.remove()
    return steps


@pytest.mark.parametrize(
    ("share", "steps", "count"),
    [(0, 4, 0), (0.25, 4, 1), (1 / 3, 4, 1), (0.3333, 3, 1), (1 / 3, 25, 8), (0.5, 4, 2), (0.1, 4, 0), (1, 4, 4)],
)
def test_the_first_steps_are_local_as_many_as_are_nearest_to_the_share(pipeline, share, steps, count):
    assert local.steps_of(share, steps) == count
    assert [told for told, *_ in watched(pipeline, local=share, steps=steps)] == [i < count for i in range(steps)]


def test_no_local_step_is_the_plain_arm_to_the_bit(pipeline):
    plain = draw(pipeline)
    assert torch.equal(draw(pipeline, local=0.0), plain) and torch.equal(draw(pipeline, local=0.1), plain)
    assert (draw(pipeline, local=1.0) - plain).abs().max() > 1e-3
    assert torch.equal(draw(pipeline), plain)  # nothing is left of the local one


def test_a_local_step_leaves_the_unguided_half_of_the_batch_as_it_was(pipeline):
    (_, (entered, _), _, found), *_ = watched(pipeline, local=1.0)
    (_, (same, _), _, plain), *_ = watched(pipeline)
    assert torch.equal(entered, same)
    assert torch.equal(found[:2], plain[:2])
    assert (found[2:] - plain[2:]).flatten(1).abs().amax(1).min() > 1e-3


@torch.no_grad()
def test_steps_after_the_local_ones_are_plain(pipeline):
    """From the latents that the local steps left, a UNet that was never local predicts the same."""
    plain = pipeline.grounding(LAYOUTS, guided=True)
    for local_step, args, keywords, out in watched(pipeline, local=0.5):
        again = pipeline.unet(*args, **keywords | {"cross_attention_kwargs": plain})[0]
        assert torch.equal(again, out) is not local_step


class Doubles(PipelineCallback):
    """Doubles the latents after the second step."""

    tensor_inputs = ("latents",)

    def callback_fn(self, pipeline, step_index, timesteps, callback_kwargs):
        return {"latents": callback_kwargs["latents"] * (2 if step_index == 1 else 1)}


def test_a_callback_of_the_callers_own_is_called_as_ever(pipeline):
    seen = []
    captions, noise = [row.caption for row in LAYOUTS], pipeline.noise([(0,), (1,)])

    def call(share, callback, **more):
        settings = {"num_inference_steps": 4, "latents": noise, "output_type": "latent", "layouts": LAYOUTS}
        return pipeline(captions, local=share, callback_on_step_end=callback, **settings, **more).images

    def plain(pipeline, step, timestep, tensors):
        seen.append((step, sorted(tensors)))
        return {}

    asked = {"callback_on_step_end_tensor_inputs": ["latents", "prompt_embeds"]}
    assert torch.equal(call(0.5, plain, **asked), call(0.5, None))
    assert seen == [(step, ["latents", "prompt_embeds"]) for step in range(4)]
    doubled = [call(share, Doubles()) for share in (0.0, 0.5)]
    assert all((one - call(share, None)).abs().max() > 1e-3 for one, share in zip(doubled, (0.0, 0.5), strict=True))
    assert not torch.equal(*doubled)


@pytest.mark.parametrize(("share", "site", "told"), [(1.5, "attn2", "between 0 and 1"), (0.5, "gated", "every slot")])
def test_what_cannot_be_local_is_told(tiny_pipeline, awake, share, site, told):
    tiny_pipeline.attach(awake(SpatialAdapter.for_unet(tiny_pipeline.unet, width=16, site=site)))
    with pytest.raises(UserError, match=told) as caught:
        draw(tiny_pipeline, local=share)
    assert caught.value.where == f"local {share:g}"


def test_an_arm_samples_as_its_row_says(tiny, pipeline, tmp_path):
    """With no share of its steps local its pictures are those of the arm whose adapter it is."""
    pipeline.adapter.save_pretrained(tmp_path / "adapter")
    rows = {f"local-{share:g}": Arm(adapter="attn2", local=share) for share in (0.0, 1.0)}
    study = dataclasses.replace(tiny.config.study, arms=tiny.config.study.arms | rows)
    found = {}
    for arm in ("attn2", *rows):
        out = tmp_path / arm
        cfg = dataclasses.replace(tiny.config, study=study)
        stage.sample(cfg, arm, 0, tiny.base, tmp_path / "adapter", tiny.layouts[:3], out)
        found[arm] = np.stack([np.asarray(Image.open(path)) for path in sorted(out.glob("*.png"))])
    assert np.array_equal(found["local-0"], found["attn2"])
    assert (found["local-1"] != found["attn2"]).any(axis=(1, 2, 3)).all()
    with pytest.raises(UserError, match="needs --adapter"):
        stage.sample(cfg, "local-1", 0, tiny.base, None, tiny.layouts[:1], tmp_path / "none")
