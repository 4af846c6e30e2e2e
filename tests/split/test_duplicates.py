"""Banding finds what comparing every two hashes finds; the first of near-duplicates stays, whatever comes later."""

import itertools

import numpy as np
import pytest

from gillnext.runtime.errors import UserError
from gillnext.split import duplicates
from gillnext.split.duplicates import groups, pairs


def some_hashes(rows, seed=3):
    """Hashes in tight clusters, so that every distance up to 12 is there many times."""
    rng = np.random.default_rng(seed)
    centres = rng.integers(2**64, size=rows // 10, dtype=np.uint64)
    flips = [sum(1 << int(b) for b in rng.choice(64, size=int(rng.integers(7)), replace=False)) for _ in range(rows)]
    return centres[rng.integers(len(centres), size=rows)] ^ np.array(flips, dtype=np.uint64)


def brute_force(hashes, most):
    return {(i, j) for i, j in itertools.combinations(range(len(hashes)), 2) if apart(hashes[i], hashes[j]) <= most}


def apart(a, b):
    return (int(a) ^ int(b)).bit_count()


@pytest.mark.parametrize("most", range(9))
def test_banding_finds_every_near_pair_and_no_other(most):
    hashes = np.unique(some_hashes(400))
    found = {(int(i), int(j)) for a, b in pairs(hashes, most) for i, j in zip(a, b, strict=True)}
    wanted = brute_force(hashes, most)
    assert found == wanted
    assert (len(wanted) > 100) == (most > 1)  # one at the smallest distances, or the test says nothing


def test_the_masks_are_every_two_blocks_of_all_bits():
    for most in range(9):
        found = duplicates.masks(most + 2)
        assert len(found) == (most + 2) * (most + 1) // 2
        assert np.bitwise_or.reduce(found) == np.uint64(2**64 - 1)


def test_a_row_stays_where_no_earlier_row_is_near():
    hashes = np.concatenate([some_hashes(300), some_hashes(300)])  # each twice
    wanted = [all(apart(h, other) > 4 for other in hashes[:i]) for i, h in enumerate(hashes)]
    assert groups(hashes, 4).first_N.tolist() == wanted
    assert 10 < sum(wanted) < 300


def test_rows_that_come_later_change_nothing_of_those_before():
    hashes = some_hashes(500)
    whole, half = groups(hashes, 4), groups(hashes[:250], 4)
    assert whole.first_N[:250].tolist() == half.first_N.tolist()
    assert whole.head_N[:250].tolist() == half.head_N.tolist()


def test_a_group_began_with_the_first_row_that_leads_to_it():
    a, b, c, d = 0, 0b1111, 0b11111111, 2**40 - 1  # b is near a, c near b alone
    found = groups(np.array([d, a, b, c, b], dtype=np.uint64), 4)
    assert found.head_N.tolist() == [0, 1, 1, 1, 1]
    assert found.first_N.tolist() == [True, True, False, False, False]


def test_rows_between_two_sides_are_found():
    a, c, b = 0, 0b11111111, 0b1111  # b comes last, and is near both
    found = groups(np.array([a, c, b], dtype=np.uint64), 4)
    assert found.head_N.tolist() == [0, 1, 0]
    assert found.between(np.array([0, 0, 0])).tolist() == [False, False, False]
    assert found.between(np.array([0, 1, 0])).tolist() == [False, False, True]


def test_a_distance_that_banding_is_no_help_with_is_refused():
    duplicates.check(8)
    duplicates.check(None)
    with pytest.raises(UserError, match=r"split\.near: 9 is more than 8"):
        duplicates.check(9)
