"""Degraded training pictures stay pictures, depend on their generator alone, and may be left as they are."""

import numpy as np
import torch

from gillnext.miniatures import degrade
from gillnext.miniatures.world import corpus
from gillnext.runtime import seeds

IMAGES = corpus.make(9, "tiny", 6).images


def test_nothing_asked_for_is_nothing_changed():
    same = degrade.degrade(IMAGES, seeds.rng("d"), jpegs=0, blurs=0, noisy=False)
    assert torch.equal(same, torch.from_numpy(IMAGES).permute(0, 3, 1, 2).float() / 255)


def test_the_generator_decides_everything():
    first, again, other = (
        degrade.degrade(IMAGES, seeds.rng(name), jpegs=0.5, blurs=0.5, noisy=True) for name in ("d", "d", "e")
    )
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_degraded_pictures_are_close_to_their_originals_and_in_range():
    clean = torch.from_numpy(IMAGES).permute(0, 3, 1, 2).float() / 255
    worse = degrade.degrade(IMAGES, seeds.rng("d"), jpegs=1, blurs=1, noisy=True)
    assert worse.min() >= 0 and worse.max() <= 1
    error = (worse - clean).abs().mean((1, 2, 3))
    assert (error > 0.002).all() and (error < 0.15).all()


def test_a_lower_quality_loses_more():
    errors = [np.abs(degrade.jpeg(IMAGES[0], q).astype(float) - IMAGES[0]).mean() for q in (95, 50, 10)]
    assert errors[0] < errors[1] < errors[2]
