"""The self-supervised ViT: its crops, its loss, and that a training that was cut off ends the same."""

import contextlib
import dataclasses
import math

import pytest
import torch

from gillnext.config.regions import Dino, EditClip, Regions
from gillnext.miniatures import dino, edit_clip
from gillnext.runtime import files, training

SMALL = Dino(corpus=8, patch=16, hidden=16, layers=1, heads=2, prototypes=12, steps=4, batch=3, lr=1e-3)


@pytest.fixture
def images():
    return torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1


def network(seed=0):
    torch.manual_seed(seed)
    return dino.Distillation(SMALL, 64)


def test_crops_are_parts_of_their_pictures():
    """Of a picture of one value every crop has one value a channel; small crops have half the side."""
    flat = torch.full((4, 3, 64, 64), 0.25)
    found = dino.crops(flat, dino.SMALL, 32, torch.Generator().manual_seed(0))
    assert found.shape == (4, 3, 32, 32) and torch.allclose(found, found[..., :1, :1].expand_as(found), atol=1e-6)
    assert found.abs().max() <= 1


def test_the_loss_begins_near_that_of_knowing_nothing_and_reaches_the_student_alone(images):
    model = network()
    loss = model.loss(images, 0, torch.Generator().manual_seed(1))
    assert abs(loss.item() - math.log(SMALL.prototypes)) < 1.5
    loss.backward()
    assert all(p.grad is not None for p in model.student.head.parameters())
    assert all(p.grad is None for p in model.teacher.parameters())


def test_the_teacher_is_the_moving_average_of_the_student():
    model = network()
    own, other = (next(part.parameters()).clone() for part in (model.teacher, model.student))
    with torch.no_grad():
        next(model.student.parameters()).add_(1)
    model.follow(0)
    assert torch.allclose(next(model.teacher.parameters()), own + (1 - SMALL.momentum) * (other + 1 - own), atol=1e-6)


def test_a_training_that_was_cut_off_goes_on_with_teacher_and_centre(images, tmp_path):
    def steps(model, count, work):
        losses = []

        def loss_at(step):
            if len(losses) == count:
                raise KeyboardInterrupt
            losses.append(step)
            return model.loss(images, step, torch.Generator().manual_seed(step))

        with contextlib.suppress(KeyboardInterrupt):
            parameters = list(model.parameters())
            training.train("dino-test", parameters, loss_at, steps=4, lr=1e-3, work=work, checkpoint_every=2)
        return model

    whole = steps(network(), 99, tmp_path / "whole")
    steps(network(), 3, tmp_path / "parted")
    parted = steps(network(7), 99, tmp_path / "parted")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parted.state_dict()[name]), name


def test_a_trained_vit_is_saved_with_what_its_anchors_are_on(tiny_config, tmp_path, monkeypatch):
    monkeypatch.setattr(dino, "HELD_OUT", 4)
    config = dataclasses.replace(tiny_config, regions=Regions(dino=SMALL, apart=1, smooth=1))
    report = dino.train(config, tmp_path / "vit")
    told = files.read_json(tmp_path / "vit/dino.json")
    for part in ("trained", "untrained"):
        assert 0 < told[part]["chance"] < 1 and 0 <= told[part]["strongest"] <= 1
    assert report["trained"]["n"] == 4


def test_the_leader_prefers_right_edits_by_a_cross_entropy():
    """Of equal similarities it is log 2; the nearer the right picture, the less."""
    unit = torch.nn.functional.normalize(torch.randn(4, 8, generator=torch.Generator().manual_seed(0)), dim=-1)
    alike = edit_clip.refused(unit[::2].repeat_interleave(2, 0), unit[::2], unit, torch.tensor(2.0))
    assert abs(alike.item() - math.log(2)) < 1e-6
    right = edit_clip.refused(unit, -unit[::2], unit, torch.tensor(2.0))
    assert right.item() < math.log(2)


def test_edits_in_wrong_boxes_are_wrong_and_a_leader_is_saved(tiny_config, tmp_path, monkeypatch):
    from gillnext.miniatures.world.objects import DRAWN
    from gillnext.miniatures.world.scenes import cover
    from gillnext.regions.measures import iou
    from gillnext.runtime import seeds

    for index in range(30):
        scene, rng = DRAWN.sample(1, "edit-clip", index), seeds.rng("wrong", index)
        if edit := edit_clip.tell("replace", scene, rng, DRAWN):
            assert iou(edit_clip.wrong_box(edit, rng), edit.box) < edit_clip.FITS
        if edit := edit_clip.tell("add", scene, rng, DRAWN):
            box = edit_clip.wrong_box(edit, rng)
            assert max(cover(box, other.box) for other in edit.others) > 0.3
    monkeypatch.setattr(edit_clip, "HELD_OUT", 6)
    config = dataclasses.replace(tiny_config, regions=Regions(clip=EditClip(corpus=9, steps=2, batch=3)))
    scores = edit_clip.train(config, tmp_path / "clip")
    assert set(scores) == {"replace", "recolour", "add", "all", "astray"}
