"""The region network: its features, its choice, and that the loss reaches every weight of it."""

import numpy as np
import pytest
import torch

from gillnext.config.regions import ObjectiveWeights, RankingWeights, Regions
from gillnext.regions import candidates, learn, network
from gillnext.regions.objective import Objective

SIDES = candidates.sides(3, 1, 4)


@pytest.fixture
def edit(eyes, clip):
    """An objective, candidate pictures (2, 3, 3, 64, 64) and features of a random edit."""
    generator = torch.Generator().manual_seed(0)
    source = torch.rand(3, 64, 64, generator=generator)
    pictures = torch.rand(2, 3, 3, 64, 64, generator=generator)
    prompts = ("一只猫和一棵树", "一只猫和一辆汽车")
    objective = Objective(eyes, clip, source, prompts, ObjectiveWeights())
    with torch.no_grad():
        states = eyes.see(source[None])[1][0]
    boxes = candidates.of([(0, 1), (2, 2)], SIDES, eyes.grid)
    return objective, pictures, network.features(states, boxes)


def direct(edit, names=("x", 0)):
    objective, pictures, features = edit
    net = network.RegionNetwork(features.shape[-1], 8, *names)
    weights = network.choose(net(features), 1.0, torch.Generator().manual_seed(3))
    return net, weights, learn.direct_loss(weights, objective, pictures)


def test_the_gradient_of_the_edited_pixels_reaches_every_parameter(edit):
    net, _, loss = direct(edit)
    loss.backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    assert (net.first.weight.grad.abs().sum(1) > 0).all()  # every hidden unit


def test_the_table_gives_the_loss_and_the_gradient_of_composed_pixels(edit):
    net, _, loss = direct(edit)
    loss.backward()
    wanted = [parameter.grad.clone() for parameter in net.parameters()]
    objective, pictures, features = edit
    other = network.RegionNetwork(features.shape[-1], 8, "x", 0)
    weights = network.choose(other(features), 1.0, torch.Generator().manual_seed(3))
    by_table = learn.table_loss(weights, learn.table(objective, pictures), "pixels")
    by_table.backward()
    assert by_table.item() == pytest.approx(loss.item(), abs=1e-5)
    for own, found in zip(wanted, other.parameters(), strict=True):
        assert torch.allclose(own, found.grad, rtol=1e-3, atol=1e-7 + 1e-4 * own.abs().max().item())


def test_the_expected_gradient_is_that_of_the_mean_over_choices(edit):
    """Of soft weights the loss is their mean over candidates, exactly."""
    known = learn.table(*edit[:2])
    weights = torch.tensor([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]], requires_grad=True)
    learn.table_loss(weights, known, "expected").backward()
    assert torch.allclose(weights.grad, known.losses / 2)


def test_a_hard_choice_is_a_candidate_to_the_bit(edit):
    _, pictures, _ = edit
    weights = network.choose(torch.randn(2, 3, requires_grad=True), 0.7, torch.Generator().manual_seed(1))
    composed = network.compose(weights, pictures)
    for own, picture, hard in zip(composed, pictures, weights.argmax(-1), strict=True):
        assert torch.equal(own, picture[hard])
    assert composed.requires_grad and set(weights.detach().round().flatten().tolist()) == {0.0, 1.0}


def test_gumbel_choices_have_the_softmax_frequencies():
    scores = torch.tensor([[0.0, 1.0, 2.0]]).repeat(6000, 1)
    drawn = network.choose(scores, 1.0, torch.Generator().manual_seed(0)).mean(0)
    assert torch.allclose(drawn, scores[0].softmax(0), atol=0.02)


def test_training_finds_the_windows_of_the_least_loss(edit):
    """Of a loss that only the second window lowers, the untrained network chooses elsewhere at times, the trained one
    never: better than its untrained self on both anchors.
    """
    _, _, features = edit
    losses = torch.tensor([[1.0, 0.1, 1.0], [1.0, 0.1, 1.0]])
    known = learn.Table(losses, losses[:, None].expand(2, 3, 3).contiguous(), {}, losses)
    settings = Regions(per_image_iteration=60, lr=0.02, width=16)
    before, after = zip(*(learn.learn(features, known, settings, seed) for seed in range(12)), strict=True)
    right = [np.mean([(one.argmax(-1) == 1).float().mean().item() for one in scores]) for scores in (before, after)]
    assert right[1] > 0.95 > 0.7 > right[0]


def test_a_network_is_seeded_by_its_names_alone(edit):
    one, other = (direct(edit, ("x", 5))[0].state_dict() for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not torch.equal(one["first.weight"], direct(edit, ("x", 6))[0].state_dict()["first.weight"])


def test_candidates_lie_about_their_anchor_and_in_the_picture():
    assert candidates.sides(4, 5, 15) == [5, 7, 10, 15]
    ((small, large),) = candidates.of([(0, 3)], [1, 3], 4)
    assert small == (0.75, 0.0, 1.0, 0.25) and large == (0.5, 0.0, 1.0, 0.5)


def test_a_fitted_box_holds_the_patches_that_are_alike_and_side_by_side():
    states = np.zeros((2, 4, 4))
    states[0] = -1
    states[0, 1:3, 1:4] = states[0, 0, 0] = 3  # an object of 2 x 3 patches, and a like patch that does not touch it
    assert candidates.alike(states, (1, 2)) == (0.25, 0.25, 1.0, 0.75)
    assert candidates.alike(states, (0, 0)) == (0.0, 0.0, 0.25, 0.25)
    ((small, fitted),) = candidates.of([(1, 2)], [1], 4, states)
    assert small == (0.5, 0.25, 0.75, 0.5) and fitted == (0.25, 0.25, 1.0, 0.75)


def test_losses_are_those_of_their_formulas(edit, clip, eyes):
    objective, pictures, _ = edit
    pixels = pictures[0]
    terms = objective.terms(pixels)
    with torch.no_grad():
        image, wanted, before = clip.images(pixels), clip.text("一只猫和一辆汽车"), clip.text("一只猫和一棵树")
    assert torch.allclose(terms["text"], 1 - image @ wanted, atol=1e-6)
    moved = torch.cosine_similarity(image - objective.image, (wanted - before)[None], dim=-1)
    assert torch.allclose(terms["directional"], 1 - moved, atol=1e-3)
    quality = objective.quality(image, RankingWeights(2.0, 0.5, 3.0))
    wanted_quality = 2 * (image @ wanted) + 0.5 * (image @ objective.image) + 3 * moved
    assert torch.allclose(quality, wanted_quality, atol=1e-4)
    keys = torch.nn.functional.normalize(eyes.keys(pixels), dim=-1)
    assert torch.allclose(objective.structure[0].diagonal(), torch.ones(17), atol=1e-5)
    changed = ((keys @ keys.mT) - objective.structure).square().mean((1, 2))
    assert torch.allclose(terms["structure"], changed, atol=1e-6)


def test_eyes_are_the_network_that_was_saved(eyes, eyes_folder):
    """Loaded without a pooling layer, it gives what transformers' own class gives."""
    from transformers import ViTModel

    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(2, 3, 64, 64, generator=generator)
    saved = ViTModel.from_pretrained(eyes_folder, add_pooling_layer=False, attn_implementation="eager").eval()
    with torch.no_grad():
        output = saved((pixels - 0.5) / 0.5, output_attentions=True)
        attention, states, keys = eyes.see(pixels)
    assert torch.allclose(attention.flatten(1), output.attentions[-1].mean(1)[:, 0, 1:], atol=1e-6)
    assert torch.allclose(states.flatten(2).mT, output.last_hidden_state[:, 1:], atol=1e-5)
    assert keys.shape == output.last_hidden_state.shape
