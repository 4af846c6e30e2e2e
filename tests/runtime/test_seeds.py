"""Draws depend on their names alone."""

import hashlib
import subprocess
import sys

import numpy as np

from gillnext.runtime import seeds


def test_a_key_is_the_low_63_bits_of_the_names_sha256():
    digest = hashlib.sha256(b"scene\x1f7\x1f0").digest()
    assert seeds.key("scene", 7, 0) == int.from_bytes(digest[:8], "little") >> 1


def test_names_do_not_run_into_each_other():
    assert len({seeds.key("a", 1, 2), seeds.key("a", 12), seeds.key("a1", 2), seeds.key("a", 2, 1)}) == 4


def test_another_process_draws_the_same():
    script = "from gillnext.runtime import seeds; print(seeds.rng('scene', 7, 3).random().hex())"
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert float.fromhex(other.stdout.strip()) == seeds.rng("scene", 7, 3).random()


def test_a_sample_does_not_depend_on_what_was_drawn_before():
    alone = seeds.rng("scene", 7, 5).normal(size=4)
    for index in range(5):
        seeds.rng("scene", 7, index).normal(size=100)
    assert np.array_equal(alone, seeds.rng("scene", 7, 5).normal(size=4))


def test_streams_are_not_correlated():
    draws = np.stack([seeds.rng("stream", 0, index).normal(size=2_000) for index in range(8)])
    off_diagonal = np.corrcoef(draws)[~np.eye(8, dtype=bool)]
    assert np.abs(off_diagonal).max() < 0.1  # 4.5 standard errors of 1/√2000


def test_torch_draws_follow_the_names():
    import torch

    first, again, other = (torch.rand(3, generator=seeds.torch_generator("noise", 0, i)) for i in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
