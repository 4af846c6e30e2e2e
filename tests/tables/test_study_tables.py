"""The tables of the study: headline contrasts, onset, and boxes tied to words."""

import json
import shutil

import pytest
from fake_results import copy_arm, gathered
from scipy import stats

from gillnext.config.load import from_dict
from gillnext.tables.binding import binding_table
from gillnext.tables.contrasts import contrasts_table
from gillnext.tables.onset import onset, onset_table, words

ARMS = {"base": {"site": "none"}, "attn1": {"site": "attn1"}, "attn2": {"site": "attn2"}}


def study(root, **settings):
    return gathered(root, from_dict({"study": {"arms": ARMS, "reference": "attn2", "seeds": [0, 1, 2]} | settings}))


def put(root, arm, seed, **metrics):
    path = root / f"scores/{arm}/{seed}.json"
    score = json.loads(path.read_text(encoding="utf-8"))
    score["metrics"] |= metrics
    path.write_text(json.dumps(score), encoding="utf-8")


def test_a_contrast_is_the_paired_t_interval_of_scipy(results_root):
    first, second = [0.91, 0.93, 0.90], [0.85, 0.88, 0.83]
    for seed in range(3):
        put(results_root, "attn2", seed, success50=first[seed])
        put(results_root, "attn1", seed, success50=second[seed])
    table = contrasts_table(study(results_root, headline=[["attn2", "attn1"]]))
    (row,) = table.records()
    test = stats.ttest_rel(first, second)
    interval = test.confidence_interval(0.95)
    assert float(row["success50"]) == pytest.approx(sum(first) / 3 - sum(second) / 3, abs=6e-4)
    assert float(row["success50_ci95"]) == pytest.approx((interval.high - interval.low) / 2, abs=6e-4)
    assert row["success50"].startswith("+") and "success@0.5" in row["apart"]
    assert contrasts_table(study(results_root)) is None


def test_of_several_contrasts_each_must_stand_at_a_stricter_level(results_root):
    """A p-value between 0.05/3 and 0.05: told apart alone, and not as one of three."""
    first, second = [0.91, 0.93, 0.90], [0.86, 0.90, 0.865]
    assert 0.05 / 3 < stats.ttest_rel(first, second).pvalue < 0.05
    for seed in range(3):
        put(results_root, "attn2", seed, success50=first[seed])
        put(results_root, "attn1", seed, success50=second[seed])
    pair = ["attn2", "attn1"]
    apart = [contrasts_table(study(results_root, headline=[pair] * n)).records()[0]["apart"] for n in (1, 3)]
    assert ["success@0.5" in words.split(", ") for words in apart] == [True, False]


def test_what_the_seeds_cannot_tell_is_not_shown(results_root):
    for seed, value in enumerate((0.80, 0.90, 0.85)):
        scales = {"success50": 1, "rules_success50": 0.6, "miou": 0.8, "rules_miou": 0.5, "kid": 0.02, "clip_score": 80}
        for metric, scale in scales.items():
            put(results_root, "attn2", seed, **{metric: scale * value})
            put(results_root, "attn1", seed, **{metric: scale * (1.7 - value)})
    (row,) = contrasts_table(study(results_root, headline=[["attn2", "attn1"]])).records()
    assert row["apart"] == "nothing shown"


def test_a_contrast_by_the_second_evaluator_stands_beside_the_first(results_root):
    for seed in range(3):
        put(results_root, "attn2", seed, rules_success50=0.5 + 0.01 * seed)
        put(results_root, "attn1", seed, rules_success50=0.7 + 0.02 * seed)
    (row,) = contrasts_table(study(results_root, headline=[["attn2", "attn1"]])).records()
    assert row["rules_success50"] == "−0.210" and "success@0.5 by rules" in row["apart"].split(", ")


@pytest.mark.parametrize(
    ("successes", "step"),
    [
        ([0.0, 0.3, 0.1, 0.25, 0.4], 400),  # a single point does not count
        ([0.2, 0.2, 0.0, 0.0, 0.0], 100),
        ([0.0, 0.1, 0.19, 0.1, 0.9], None),  # the last point has no successor
        ([], None),
    ],
)
def test_onset_is_the_first_of_two_points_that_reach_the_level(successes, step):
    assert onset([(100 * (i + 1), s) for i, s in enumerate(successes)]) == step


def test_onset_says_how_many_seeds_began():
    assert words([300, 100, 200], 600) == "200"
    assert words([None, None], 2000) == "not within 2,000 steps"
    assert words([None, 400, 200, 600], 2000) == "400, in 3 of 4 seeds"
    assert words([100, 100, 200], 600, first=100) == "≤ 100"  # nothing was looked at before
    assert words([100, 200, 200], 600, first=100) == "200"


def test_the_onset_table_has_a_row_for_each_arm_with_a_curve(results_root):
    flat = [{"step": s, "success50": 0.05, "miou": 0.1} for s in (100, 200, 300)]
    for seed in range(3):
        (results_root / f"curves/attn1/{seed}/curve.json").write_text(json.dumps(flat))
    rows = {row["arm"]: row for row in onset_table(study(results_root)).records()}
    assert set(rows) == {"attn1", "attn2"}
    assert rows["attn1"]["onset"] == "not within 300 steps" and rows["attn2"]["onset"].isdigit()


def test_the_binding_table_puts_swapped_and_unnamed_arms_side_by_side(results_root):
    shutil.copytree(results_root / "scores/attn2", results_root / "scores/swapped/attn2")
    copy_arm(results_root, "attn2", "attn2-unnamed")
    for seed in range(3):
        put(results_root, "attn2", seed, success50=0.8, wrong_class=0.1)
        put(results_root, "swapped/attn2", seed, success50=0.7, wrong_class=0.2, rules_success50=0.4)
        put(results_root, "attn2-unnamed", seed, success50=0.3, wrong_class=0.5)
    for seed, hits in enumerate([[1, 2, 0], [0, 1, 2], [1, 2, 2]]):  # of 1, 2 and 3 boxes: 2, 3 and 4 of 5 count
        path = results_root / f"scores/attn2/{seed}.json"
        score = json.loads(path.read_text(encoding="utf-8"))
        score["per_image"] = {"boxes": [1, 2, 3], "hits": hits, "iou": [0.5] * 3}
        path.write_text(json.dumps(score), encoding="utf-8")
    arms = ARMS | {"attn2-unnamed": {"phrases": False}}
    table = binding_table(study(results_root, arms=arms, swapped=["attn2"]))
    named, unnamed = table.records()
    assert (named["arm"], named["phrases"], named["own_class"]) == ("attn2", "own", "0.889")
    assert named["several_success50"] == "0.600"  # of layouts with a single object no name can move
    assert (named["swapped_success50"], named["swapped_rules_success50"]) == ("0.700", "0.400")
    assert named["swapped_wrong_class"] == "0.200"
    assert (unnamed["arm"], unnamed["phrases"], unnamed["own_class"]) == ("attn2-unnamed", "none", "0.375")
    assert unnamed["swapped_success50"] == "–"
    assert binding_table(study(results_root)) is None
