"""Fourier features, proximity and containment against plain Python formulas and diffusers' own."""

import math

import pytest
import torch
from diffusers.models.embeddings import get_fourier_embeds_from_boundingbox

from gillnext.adapter import bias, fourier
from gillnext.adapter.bias import NULL_LEVEL
from gillnext.miniatures.world.scenes import SIDES

BOXES = torch.tensor([[[0.1, 0.2, 0.5, 0.9], [0.0, 0.0, 1.0, 1.0]], [[0.61, 0.33, 0.64, 0.36], [0.3, 0.7, 0.9, 0.8]]])


def omega(name):
    """The frequencies as docs/adapter.md writes them."""
    return [100 ** (k / 8) if name == "gligen" else 2 * math.pi * 2**k for k in range(8)]


@pytest.mark.parametrize("name", ["gligen", "sin2pi"])
def test_embedding_is_sine_and_cosine_of_each_coordinate(name):
    found = fourier.embed(BOXES, fourier.frequencies(name))
    assert found.shape == (2, 2, 64)
    for b in range(2):
        for n in range(2):
            expected = [
                function(w * v) for v in BOXES[b, n].tolist() for w in omega(name) for function in (math.sin, math.cos)
            ]
            torch.testing.assert_close(found[b, n], torch.tensor(expected), atol=2e-4, rtol=0)


def test_gligen_frequencies_give_diffusers_embedding_up_to_order():
    ours = fourier.embed(BOXES, fourier.frequencies("gligen")).reshape(2, 2, 4, 8, 2)  # coordinate, frequency, sine
    theirs = get_fourier_embeds_from_boundingbox(8, BOXES).reshape(2, 2, 8, 2, 4)  # frequency, sine, coordinate
    torch.testing.assert_close(ours, theirs.permute(0, 1, 4, 2, 3), atol=2e-5, rtol=0)


def test_integer_coordinates_under_sin2pi_give_one_constant_embedding():
    raw = torch.randint(0, 1001, (3, 5, 4), generator=torch.Generator().manual_seed(0)).float()
    found = fourier.embed(raw, fourier.frequencies("sin2pi"))
    constant = torch.tensor([0.0, 1.0]).repeat(32).expand_as(found)
    assert torch.equal(found, constant)


def test_unknown_frequencies_are_refused():
    with pytest.raises(ValueError, match="gligen or sin2pi"):
        fourier.frequencies("gilgen")


def test_pixel_centres_go_row_by_row():
    assert bias.pixel_centres(2, 4).tolist() == [
        [0.125, 0.25], [0.375, 0.25], [0.625, 0.25], [0.875, 0.25],
        [0.125, 0.75], [0.375, 0.75], [0.625, 0.75], [0.875, 0.75],
    ]  # fmt: skip


def test_proximity_is_the_mean_cosine_of_the_offset():
    pixels = bias.pixel_centres(3, 2)
    found = bias.proximity(pixels, BOXES, fourier.frequencies("gligen"))
    for b in range(2):
        for p, (x, y) in enumerate(pixels.tolist()):
            for n in range(2):
                x1, y1, x2, y2 = BOXES[b, n].tolist()
                offsets = (x - (x1 + x2) / 2, y - (y1 + y2) / 2)
                expected = sum(math.cos(w * d) for w in omega("gligen") for d in offsets) / 16
                assert found[b, p, n].item() == pytest.approx(expected, abs=1e-5)


def test_proximity_is_one_at_the_centre_of_the_box():
    centre = torch.tensor([[0.3, 0.55]])
    found = bias.proximity(centre, BOXES[:1, :1], fourier.frequencies("gligen"))
    assert found.item() == pytest.approx(1.0, abs=1e-6)


def test_inside_is_containment_or_the_nearest_pixel():
    pixels = bias.pixel_centres(4, 4)
    found = bias.inside(pixels, BOXES)
    for b in range(2):
        for n in range(2):
            x1, y1, x2, y2 = BOXES[b, n].tolist()
            cx, cy = (x1 + x2) / 2, (y1 + y2) / 2
            distances = [(x - cx) ** 2 + (y - cy) ** 2 for x, y in pixels.tolist()]
            for p, (x, y) in enumerate(pixels.tolist()):
                nearest = distances[p] <= min(distances) + 1e-7
                expected = (x1 <= x <= x2 and y1 <= y <= y2) or nearest
                assert bool(found[b, p, n]) == expected, (b, n, p)


def test_a_box_between_the_pixels_still_has_a_pixel():
    found = bias.inside(bias.pixel_centres(4, 4), torch.tensor([[[0.61, 0.36, 0.64, 0.39]]]))
    assert found.sum().item() == 1 and found[0, 6, 0]  # second row, third column: centre (0.625, 0.375)


def test_the_bias_is_a_round_hill_about_the_centre():
    """Falls with distance in every direction, and about alike: what the token frequencies do not give."""
    box = torch.tensor([[[0.45, 0.45, 0.55, 0.55]]])
    distances, angles = torch.linspace(0, 0.3, 13), torch.linspace(0, math.pi, 9)
    pixels = torch.stack([torch.stack([0.5 + d * a.cos(), 0.5 + d * a.sin()]) for d in distances for a in angles])

    def hill(omega_F):
        return bias.proximity(pixels, box, omega_F).reshape(len(distances), len(angles))

    found = hill(bias.frequencies())
    assert (found.diff(dim=0) < 0).all()
    assert (found[:7].amax(1) - found[:7].amin(1) < 0.03).all()  # to 0.15 of the image
    curvature = bias.frequencies().double().square().mean().item() / 4
    assert found[1].mean().item() == pytest.approx(1 - curvature * distances[1].item() ** 2, abs=1e-4)
    assert not (hill(fourier.frequencies("gligen")).diff(dim=0) < 0).all()


def test_the_null_token_takes_over_between_the_smallest_and_the_largest_objects_half_sides():
    centre, radii = torch.tensor([[[0.5, 0.5, 0.5, 0.5]]]), torch.linspace(0, 0.5, 501)
    near = bias.proximity(torch.stack([0.5 + radii, torch.full_like(radii, 0.5)], 1), centre, bias.frequencies())
    reach = radii[(near[0, :, 0] > NULL_LEVEL).sum() - 1].item()
    assert SIDES[0] / 2 < reach < SIDES[1] / 2
