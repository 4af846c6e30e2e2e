"""What the intervals promise, by simulation: coverage with three and five seeds, and no decision from one.

Shares of 4,000 draws are known to 0.0035 (one standard error at 0.95); the tolerances are four of these unless told.
"""

import numpy as np
import pytest
from fake_results import gathered

from gillnext.claims import rules
from gillnext.claims.verdicts import Word
from gillnext.config.load import from_dict
from gillnext.statistics import bootstrap, estimate, paired
from gillnext.tables.runs import Runs

DRAWS, ERROR = 4000, 0.014
SITES = {"first": {"site": "attn2"}, "second": {"site": "attn1"}}


def covers(found, truth):
    return found.low <= truth <= found.high


def skewed(rng, *shape):
    """Mean 0, variance 1, skewness 0.5: a gamma of shape 16, standardised."""
    return (rng.gamma(16, 1, shape) - 16) / 4


@pytest.mark.parametrize("n", [3, 5])
def test_the_t_interval_covers_the_mean_of_normal_seeds(n):
    values = np.random.default_rng(n).normal(0.8, 0.02, (DRAWS, n))
    assert np.mean([covers(estimate(v), 0.8) for v in values]) == pytest.approx(0.95, abs=ERROR)


@pytest.mark.parametrize("n", [3, 5])
def test_the_t_interval_nearly_covers_the_mean_of_skewed_seeds(n):
    values = skewed(np.random.default_rng(n), DRAWS, n)
    assert np.mean([covers(estimate(v), 0.0) for v in values]) == pytest.approx(0.95, abs=ERROR + 0.005)


@pytest.mark.parametrize("n", [3, 5])
def test_the_paired_interval_covers_a_difference_under_a_common_seed_effect(n):
    """What both arms share of a seed cancels: the paired interval is right, and narrower than the arms' own."""
    rng = np.random.default_rng(n)
    common, own = rng.normal(0, 0.05, (DRAWS, 1, n)), rng.normal(0, 0.01, (DRAWS, 2, n))
    arms = 0.8 + common + own + np.array([[0.03], [0.0]])
    found = [paired(first, second) for first, second in arms]
    assert np.mean([covers(f, 0.03) for f in found]) == pytest.approx(0.95, abs=ERROR)
    assert np.median([f.half for f in found]) < 0.5 * np.median([estimate(first).half for first, _ in arms])


@pytest.mark.parametrize("n", [3, 5])
def test_arms_without_a_difference_are_told_apart_in_one_draw_of_twenty(n):
    arms = np.random.default_rng(n).normal(0.8, 0.02, (DRAWS, 2, n))
    decided = [rules.direction(paired(first, second), "higher") != 0 for first, second in arms]
    assert np.mean(decided) == pytest.approx(0.05, abs=ERROR)


@pytest.mark.parametrize("n", [2, 3, 6])
@pytest.mark.parametrize(("draw", "more"), [(lambda rng, *shape: rng.normal(0, 1, shape), 0.0), (skewed, 0.005)])
def test_the_prediction_interval_covers_one_run_more(n, draw, more):
    rng, inside = np.random.default_rng(n), []
    for *known, new in draw(rng, DRAWS, n + 1):
        runs = Runs({str(i): {"x": value} for i, value in enumerate(known)})
        inside.append(abs(new - runs.mean("x")) <= runs.half("x"))
    assert np.mean(inside) == pytest.approx(0.95, abs=ERROR + more)


def test_a_pooled_deviation_of_numbers_that_one_base_moves_together_still_covers():
    """Arms of a run share nine tenths of their variance: pooled, with the freedom of the runs, it is no less wide."""
    rng, inside = np.random.default_rng(4), []
    for _ in range(DRAWS):
        values = rng.normal(0, 3, (4, 1)) + rng.normal(0, 1, (4, 2))
        runs = Runs({str(i): {"a": run[0], "b": run[1]} for i, run in enumerate(values[:3])})
        inside.append(abs(values[3, 0] - runs.mean("a")) <= runs.half("a", ["a", "b"]))
    assert 0.95 - ERROR <= np.mean(inside) <= 0.97


@pytest.mark.parametrize("n", [3, 5])
def test_a_contrast_on_common_layouts_holds_for_these_and_not_for_others(n):
    """Seeds share the test layouts: what a layout does to one arm alone is no error of the t interval.

    500 layouts, each with an effect of its own on the difference of two arms (s.d. 0.3, so 0.0134 of a mean), and a
    training seed's effect of 0.02 on each arm. About the difference on these layouts the interval covers in 95 of 100;
    about that on all layouts, of the effects' true mean, in fewer: the bootstrap over images tells the rest.
    """
    rng = np.random.default_rng(n)
    layouts = rng.normal(0.03, 0.3 / np.sqrt(500), (DRAWS, 1))  # the mean effect of a draw of 500
    seeds = rng.normal(0, 0.02, (DRAWS, 2, n))
    found = [paired(*arms) for arms in 0.8 + seeds + np.stack([layouts, 0 * layouts], 1)]
    here = [covers(f, float(truth[0])) for f, truth in zip(found, layouts, strict=True)]
    assert np.mean(here) == pytest.approx(0.95, abs=ERROR)
    assert np.mean([covers(f, 0.03) for f in found]) < 0.95 - ERROR


def test_image_level_intervals_alone_do_not_cover_where_seeds_differ():
    """Why both intervals are printed: three seeds whose true success spreads by 0.05, 200 images of one box each.

    The bootstrap sees the images' part of the error, 0.019, and not the seeds', 0.029: it covers as often as a normal
    lies within 1.96·0.019/0.0345 of its mean, 0.71. Of 200 draws a share is known to 0.03.
    """
    rng, by_images, by_seeds = np.random.default_rng(0), [], []
    for draw in range(200):
        levels = rng.normal(0.7, 0.05, (3, 1))
        hits = (rng.random((3, 200)) < levels).astype(np.float64)
        low, high = bootstrap(hits, np.ones(200), "draw", draw)
        by_images.append(low <= 0.7 <= high)
        by_seeds.append(covers(estimate(hits.mean(1)), 0.7))
    assert np.mean(by_images) == pytest.approx(0.71, abs=0.12)
    assert np.mean(by_seeds) == pytest.approx(0.95, abs=0.06)


@pytest.mark.parametrize(
    ("judge", "rule"),
    [
        (rules.judge_paired, {**SITES, "metrics": {"success50": "higher"}}),
        (rules.judge_paired, {**SITES, "metrics": {"success50": "lower"}}),
        (rules.judge_binding, {"arm": {"site": "attn1"}, "margin": 0.0}),
        (rules.judge_placement, {"above": 0.01, "gain": 0.01}),
        (rules.judge_placement, {"above": 0.99, "gain": 0.99}),
    ],
)
def test_no_comparison_is_decided_from_one_seed(results_root, judge, rule):
    """However large the effect is: no rule that needs a spread over seeds has one."""
    arms = {"base": {"site": "none"}, "attn1": {"site": "attn1"}, "attn2": {"site": "attn2"}}
    one = from_dict({"study": {"reference": "attn2", "seeds": [1], "arms": arms}})
    assert judge(rule, gathered(results_root, one)).word == Word.NOT_SHOWN
