"""Variance components: a published table, and draws of known deviations."""

import numpy as np
import pytest

from gillnext.statistics import components

SOURCES = ("plant", "leaf", "determination")
# Calcium in turnip greens, per cent of dry weight: four plants, three leaves of each, two determinations (Snedecor &
# Cochran, Statistical Methods). Its mean squares are 2.5201, 0.3288 and 0.0067.
CALCIUM = np.array(
    [
        [[3.28, 3.09], [3.52, 3.48], [2.88, 2.80]],
        [[2.46, 2.44], [1.87, 1.92], [2.19, 2.19]],
        [[2.77, 2.66], [3.74, 3.44], [2.55, 2.55]],
        [[3.78, 3.87], [4.07, 4.12], [3.31, 3.31]],
    ]
)


def test_the_components_of_a_published_table():
    found = components(CALCIUM, SOURCES)
    expected = {"plant": (2.5201 - 0.3288) / 6, "leaf": (0.3288 - 0.0067) / 2, "determination": 0.0067}
    assert {name: part.deviation**2 for name, part in found.items()} == pytest.approx(expected, abs=1e-4)
    assert [part.freedom for part in found.values()] == [3, 8, 12]


def draws(rng, deviations, shape):
    """Values of a nested design whose sources have these deviations."""
    b, a, k = shape
    base, seed, noise = deviations
    return (
        base * rng.normal(size=(b, 1, 1)) + seed * rng.normal(size=(b, a, 1)) + noise * rng.normal(size=(b, a, k))
    )  # fmt: skip


def test_intervals_hold_the_truth_in_95_of_100_draws():
    rng, truth, draws_of = np.random.default_rng(0), (3.0, 2.0, 1.0), 2000
    found = [components(draws(rng, truth, (4, 6, 3)), SOURCES) for _ in range(draws_of)]
    for name, deviation in zip(SOURCES, truth, strict=True):
        held = np.mean([part[name].low <= deviation <= part[name].high for part in found])
        assert 0.935 <= held <= 0.965, (name, held)  # 0.95 ± 3 binomial errors
        variance = np.mean([part[name].deviation ** 2 for part in found])
        assert variance == pytest.approx(deviation**2, rel=0.07), name


def test_a_source_without_draws_is_left_out_and_goes_into_the_one_above():
    values = draws(np.random.default_rng(1), (0.0, 2.0, 1.0), (1, 4000, 1))
    found = components(values, SOURCES)
    assert list(found) == ["leaf"] and found["leaf"].deviation == pytest.approx(5**0.5, rel=0.05)
    assert found["leaf"].deviation == pytest.approx(values.std(ddof=1))


def test_a_source_that_adds_nothing_is_0_and_its_interval_holds_0():
    found = components(np.tile(np.array([[[0.0, 1.0]]]), (2, 5, 1)), SOURCES)
    assert (found["plant"].deviation, found["leaf"].deviation, found["leaf"].low) == (0.0, 0.0, 0.0)
