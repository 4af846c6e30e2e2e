"""Pictures drawn from text states instead of captions, as GILL's mapper gives them."""

import pytest
import torch

from gillnext.adapter import pipeline as grounded
from gillnext.adapter.model import SpatialAdapter
from gillnext.layouts import Layout

LAYOUTS = [
    Layout("一棵树和一辆车", ("树", "车"), ((0.1, 0.1, 0.5, 0.6), (0.5, 0.4, 0.9, 0.9))),
    Layout("一只猫", ("猫",), ((0.2, 0.5, 0.7, 0.95),)),
]
ENGLISH = [Layout("a tree", ("tree",), LAYOUTS[1].boxes), Layout("a cat", ("cat",), LAYOUTS[1].boxes)]


@torch.no_grad()
@pytest.mark.parametrize("boxes", [False, True])
@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("base", ["tiny_base", "tiny_sdxl"])
def test_the_text_encoders_own_states_draw_what_the_caption_draws(base, guidance, boxes, request, awake):
    pipeline = grounded.load(request.getfixturevalue(base))
    rows = LAYOUTS if base == "tiny_base" else ENGLISH
    if boxes:
        torch.manual_seed(0)
        pipeline.attach(awake(SpatialAdapter.for_unet(pipeline.unet, width=16).eval()))
    captions = [row.caption for row in rows]
    states, _, pooled, _ = pipeline.encode_prompt(captions, do_classifier_free_guidance=False)

    def draw(captions, **more):
        images, used = pipeline.draw(captions, rows, steps=2, guidance=guidance, output_type="latent", **more)
        assert used == rows
        return images

    by_caption = draw(captions)
    assert torch.equal(draw(captions, embeds=(states, pooled)), by_caption)
    assert torch.equal(draw(["", ""], embeds=(states, pooled)), by_caption)
    assert not torch.equal(draw(captions, embeds=(states.flip(0), pooled.flip(0))), by_caption)
