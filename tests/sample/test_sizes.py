"""Pictures of other shapes: the size of a layout's own picture, what follows it, and what stays as it was."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from gillnext.adapter import bias
from gillnext.adapter.grounding import halved
from gillnext.adapter.model import SpatialAdapter
from gillnext.adapter.pipeline import load
from gillnext.config.model import Arm, Guided
from gillnext.curve import stage as curve
from gillnext.instruments.detections import Detections
from gillnext.layouts import Layout
from gillnext.runtime import seeds
from gillnext.runtime.errors import UserError
from gillnext.sample import guidance, sizes, stage

BOX = ((0.1, 0.2, 0.5, 0.9),)


def row(width=None, height=None, name="树", caption="一棵树"):
    extra = {key: side for key, side in (("width", width), ("height", height)) if side is not None}
    return Layout(caption, (name,), BOX, extra=extra)


@pytest.fixture(params=["kolors", "sdxl"])
def base(request, tiny_base, tiny_sdxl):
    return tiny_base if request.param == "kolors" else tiny_sdxl


def test_the_pipelines_own_size_is_the_default(tiny_pipeline):
    assert sizes.wanted([row(1920, 1080), row()], tiny_pipeline, "own") == [(64, 64)] * 2


def test_a_layouts_picture_chooses_the_nearest_shape_of_the_same_area(tiny_pipeline):
    asked = [row(1920, 1080), row(1080, 1920), row(500, 500), row(), row(10_000, 10)]
    found = sizes.wanted(asked, tiny_pipeline, "layout")
    assert found[2:4] == [(64, 64)] * 2
    for height, width in found:
        assert height % 16 == 0 == width % 16 and 0.9 * 64**2 <= height * width <= 64**2
    assert found[0][1] > found[0][0] and found[1] == found[0][::-1]
    assert found[4][1] >= found[0][1]


@pytest.mark.parametrize(("width", "height"), [(0, 5), (5, None), ("5", 5), (2.5, 5), (True, 5)])
def test_what_is_no_size_is_refused(width, height, tiny_pipeline):
    with pytest.raises(UserError, match=r"layout '一棵树': width"):
        sizes.wanted([row(width, height)], tiny_pipeline, "layout")


def test_rows_of_one_size_are_drawn_together_in_their_order():
    asked = [(1, 1), (2, 1), (1, 1), (1, 1), (2, 1)]
    assert sizes.batches(asked, 2) == [[0, 2], [3], [1, 4]]
    assert sizes.batches([(1, 1)] * 5, 2) == [[0, 1], [2, 3], [4]]


@pytest.mark.parametrize("size", [(16, 24), (13, 20), (9, 5), (128, 96)])
def test_attention_maps_have_the_shapes_that_strided_convolutions_make(size):
    down = torch.nn.Conv2d(1, 1, 3, stride=2, padding=1)  # diffusers' Downsample2D
    cells = torch.zeros(1, 1, *size)
    for _ in range(3):
        assert halved(size, cells[0].numel()) == tuple(cells.shape[-2:])
        cells = down(cells)


@pytest.mark.parametrize("site", ["attn1", "gated"])
def test_a_wide_picture_is_drawn_and_feels_its_boxes(site, base, awake):
    pipeline = load(base)
    torch.manual_seed(0)
    pipeline.attach(awake(SpatialAdapter.for_unet(pipeline.unet, width=16, site=site).eval()))
    told = []
    handle = pipeline.unet.register_forward_pre_hook(
        lambda unet, args, keywords: told.append(keywords), with_kwargs=True
    )
    draw = {"keys": [("a", 1)], "steps": 2, "size": (48, 80)}
    boxed, _ = pipeline.draw(["a tree"], [row(name="tree")], **draw)
    handle.remove()
    assert boxed.shape == (1, 48, 80, 3)
    assert told[0]["added_cond_kwargs"]["time_ids"].tolist() == [[48, 80, 0, 0, 48, 80]] * 2  # (height, width), as SDXL
    other, _ = pipeline.draw(["a tree"], [Layout("", ("tree",), ((0.5, 0.2, 0.9, 0.9),))], **draw)
    assert np.abs(boxed - other).max() > 1e-3


def test_the_noise_of_a_wide_picture_has_the_samples_name(tiny_pipeline):
    found = tiny_pipeline.noise([("a", 1), ("b", 2)], (48, 80))
    expected = torch.randn(4, 12, 20, generator=seeds.torch_generator("noise", "b", 2))
    assert torch.equal(found[1], expected)


@torch.no_grad()
def test_the_bias_of_a_wide_map_lies_where_the_box_is(tiny_pipeline):
    """The level of a cell is the proximity of its centre in fractions of the picture, not of a square."""
    torch.manual_seed(0)
    tiny_pipeline.attach(SpatialAdapter.for_unet(tiny_pipeline.unet, width=16).eval())
    grounding = tiny_pipeline.grounding([row()], guided=False, size=(48, 80))["grounding"]
    levels = grounding.map(6 * 10)[0, :, 0].reshape(6, 10)
    (x1, y1, x2, y2) = BOX[0]
    for i, j in ((0, 0), (3, 3), (5, 9)):
        offsets = torch.tensor([(j + 0.5) / 10 - (x1 + x2) / 2, (i + 0.5) / 6 - (y1 + y2) / 2])
        expected = torch.cos(offsets[:, None] * bias.frequencies()).mean() - bias.NULL_LEVEL
        torch.testing.assert_close(levels[i, j], expected, atol=1e-5, rtol=0)


def settings(tiny, arm, **changes):
    arms = tiny.config.study.arms | {"moved": Arm(site="none", boxes="guidance")}
    sample = dataclasses.replace(tiny.config.sample, size="layout", batch=2, **changes)
    study = dataclasses.replace(tiny.config.study, arms=arms)
    return dataclasses.replace(tiny.config, sample=sample, study=study, guided=Guided(steps=2, iterations=1))


@pytest.mark.parametrize("arm", ["base", "moved"])
def test_pictures_of_every_shape_lie_at_their_rows(arm, base, tiny, tmp_path):
    """A row's picture is the one that it has alone, whatever shapes stand beside it."""
    words, cfg = {"name": "tree", "caption": "a tree"} if base != tiny.base else {}, settings(tiny, arm)
    rows = [row(90, 60, **words), row(**words), row(60, 90, **words), row(90, 60, **words)]
    stage.sample(cfg, arm, 0, base, None, rows, tmp_path / "out")
    shapes = [Image.open(tmp_path / "out" / f"{i:05d}.png").size for i in range(4)]
    assert shapes[1] == (64, 64) and shapes[0] == shapes[3] == shapes[2][::-1] and shapes[0][0] > shapes[0][1]
    pipeline, size = load(base), shapes[2][::-1]
    (alone,) = stage.pictures(cfg, arm, pipeline, rows[2:3], [(cfg.run.seed, 0, 2)], size)
    drawn = np.asarray(Image.open(tmp_path / "out" / "00002.png")).astype(int)
    assert np.abs(drawn - (alone * 255).round()).max() <= 1


def test_the_energy_of_a_wide_map_is_that_of_its_cells():
    """Against a loop over 3×5 cells."""
    maps = torch.rand(1, 15, 4, generator=torch.Generator().manual_seed(0))
    found = guidance.energy(maps, [row()], [[[1, 2]]], (6, 10))
    inside = total = 0.0
    (x1, y1, x2, y2) = BOX[0]
    for cell in range(15):
        x, y, value = (cell % 5 + 0.5) / 5, (cell // 5 + 0.5) / 3, float(maps[0, cell, 1:3].mean())
        total += value
        inside += value if x1 <= x <= x2 and y1 <= y <= y2 else 0.0
    assert float(found) == pytest.approx((1 - inside / total) ** 2, rel=1e-5)


def test_the_places_of_a_name_are_clips_own_tokens(tiny_sdxl):
    pipeline = load(tiny_sdxl)
    caption = "a cat and Tree"
    ids = pipeline.tokenizer(caption, padding="max_length", max_length=16)["input_ids"]
    for name, places in zip(("cat", "tree"), guidance.token_places(pipeline, caption, ("cat", "tree")), strict=True):
        tokens = pipeline.tokenizer.convert_ids_to_tokens([ids[i] for i in places])
        assert "".join(tokens).replace("</w>", "") == name
    assert guidance.token_places(pipeline, caption, ("fish",)) == [[]]


@pytest.mark.parametrize("name", ["鱼", "树"])
def test_only_latents_whose_names_stand_in_the_caption_are_moved(name, tiny_pipeline):
    drawn = [
        guidance.draw(
            tiny_pipeline, [row(name=name)], tiny_pipeline.noise([("a", 1)]), Guided(steps=2, share=share), 3.0
        )
        for share in (0.0, 1.0)
    ]
    assert np.array_equal(*drawn) == (name == "鱼")


class Same:
    """Sees one size at a time."""

    classes, description = ("树",), "same"

    def detect(self, images, batch):
        return [Detections(np.zeros((0, 4)), np.zeros(0, int), np.array([image.shape[1]])) for image in images]


def test_detections_of_pictures_of_several_sizes_keep_their_order(tmp_path):
    images = [np.zeros((4, width, 3), np.uint8) for width in (8, 4, 8, 6)]
    rows = [Layout("树", (), ())] * len(images)
    assert [int(found.scores[0]) for found in curve.detect(Same(), images, rows, 2)] == [8, 4, 8, 6]
    assert curve.sheet(images).shape == (4, 4, 8, 3) and (curve.sheet(images)[1, :, 4:] == 255).all()
