"""Verdicts on crafted score files, one rule at a time, and the file of claims itself."""

import dataclasses
import json
import math
import shutil
from pathlib import Path

import pytest
from fake_results import copy_arm, gathered

from gillnext.claims import costs, rules
from gillnext.claims.stage import claims, judge, judge_all, read_claims
from gillnext.claims.verdicts import Word, in_print
from gillnext.config.load import from_dict
from gillnext.record.results import Results
from gillnext.runtime.errors import UserError
from gillnext.statistics import Estimate

SOURCE = Path(__file__).parents[2] / "reference" / "claims.yaml"
SITES = {"first": {"site": "attn2"}, "second": {"site": "attn1"}}


def set_metric(root, arm, name, values):
    for seed, value in enumerate(values):
        path = root / f"scores/{arm}/{seed}.json"
        score = json.loads(path.read_text(encoding="utf-8"))
        score["metrics"][name] = value
        path.write_text(json.dumps(score), encoding="utf-8")


def set_memory(root, workload, **changes):
    path = root / "memory.json"
    memory = json.loads(path.read_text(encoding="utf-8"))
    for mode, saved in changes.items():
        memory[workload]["modes"][mode]["saved_bytes"] = saved
    path.write_text(json.dumps(memory), encoding="utf-8")


def verdicts(root, config):
    return {r["id"]: r for r in judge_all(read_claims(SOURCE), gathered(root, config))}


@pytest.mark.parametrize(
    ("attn1", "attn2", "word"),
    [
        ([0.020, 0.021, 0.022], [0.010, 0.011, 0.012], Word.REPRODUCED),
        ([0.010, 0.011, 0.012], [0.020, 0.021, 0.0225], Word.CONTRADICTED),
        ([0.010, 0.030, 0.012], [0.020, 0.011, 0.022], Word.NOT_SHOWN),
    ],
)
def test_the_sign_of_a_contrast_needs_an_interval_without_zero(results_root, config, attn1, attn2, word):
    set_metric(results_root, "attn1", "kid", attn1)
    set_metric(results_root, "attn2", "kid", attn2)
    rule = {**SITES, "metrics": {"kid": "lower"}}
    assert rules.judge_paired(rule, gathered(results_root, config)).word == word


def test_two_metrics_that_disagree_show_nothing(results_root, config):
    for arm, kid, clip in [("attn1", 0.02, 75.0), ("attn2", 0.01, 70.0)]:
        set_metric(results_root, arm, "kid", [kid, kid * 1.01, kid * 1.02])
        set_metric(results_root, arm, "clip_score", [clip, clip + 0.1, clip + 0.3])
    assert verdicts(results_root, config)["C1"]["verdict"] == "not shown"


def test_one_seed_decides_no_contrast(results_root):
    arms = {"base": {"site": "none"}, "attn1": {"site": "attn1"}, "attn2": {}}
    config = from_dict({"study": {"seeds": [0], "arms": arms}})
    found = verdicts(results_root, config)
    assert {found[c]["verdict"] for c in ("C1", "C2", "C16")} == {"not shown"}


@pytest.mark.parametrize(
    ("right", "wrong", "word"),
    [(0.80, 0.02, Word.CONTRADICTED), (0.30, 0.30, Word.REPRODUCED), (0.55, 0.35, Word.NOT_SHOWN)],
)
def test_binding_is_judged_against_places_dealt_at_random(results_root, config, right, wrong, word):
    results = gathered(results_root, config)
    untied = rules.untied_share(results)
    if word == Word.NOT_SHOWN:  # exactly at the limit, with a spread
        right, wrong = untied + 0.1, 1 - untied - 0.1
    set_metric(results_root, "attn1", "success50", [right - 0.01, right, right + 0.01])
    set_metric(results_root, "attn1", "wrong_class", [wrong + 0.01, wrong, wrong - 0.01])
    rule = {"arm": {"site": "attn1"}, "margin": 0.1}
    assert rules.judge_binding(rule, gathered(results_root, config)).word == word


@pytest.mark.parametrize(
    ("l2", "through_unet", "verdict"),
    [
        (0.66, 0.66, "reproduced"),
        (0.66, 0.15, "contradicted"),
        (0.46, 0.66, "contradicted"),
        (0.46, 0.15, "contradicted"),
    ],
)
def test_memory_saved_is_decided_by_the_losses_of_gills_shape(results_root, config, l2, through_unet, verdict):
    """Three UNet forwards, of which splitting saves two thirds whatever they are, decide nothing."""
    for workload, saved in (("gill_l2", l2), ("gill", through_unet)):
        set_memory(results_root, workload, split=round(100_000_000 * (1 - saved)), summed=100_000_000)
    assert verdicts(results_root, config)["C3"]["verdict"] == f"{verdict} in miniature"


def test_claims_on_backward_tell_the_losses_of_gills_shape_first(results_root, config):
    found = verdicts(results_root, config)
    measured = found["C3"]["measured"]
    assert measured.startswith("bytes held, GILL's own three losses, which run no UNet −50.0% (11.44 → 5.72 MiB)")
    assert "a model of GILL's shape that generates through the UNet −16.0% (47.68 → 40.05 MiB)" in measured
    assert measured.endswith("three UNet forwards −66.7% (114.44 → 38.15 MiB)")
    assert "InfoNCE 6.0e−1, denoising 4.0e−7" in found["C4"]["measured"]
    path = results_root / "memory.json"
    memory = json.loads(path.read_text(encoding="utf-8"))
    del memory["gill"], memory["gill_l2"], memory["additivity"]
    path.write_text(json.dumps(memory), encoding="utf-8")
    without = verdicts(results_root, config)
    assert all(without[c]["word"] == found[c]["word"] for c in ("C4", "C5"))
    assert without["C3"]["word"] == Word.NOT_RUN and "GILL" not in without["C4"]["measured"]


def test_gradients_that_differ_contradict(results_root, config):
    path = results_root / "memory.json"
    memory = json.loads(path.read_text(encoding="utf-8"))
    assert verdicts(results_root, config)["C4"]["word"] == "reproduced"
    memory["max_gradient_difference"]["split"] = 0.01
    path.write_text(json.dumps(memory), encoding="utf-8")
    assert verdicts(results_root, config)["C4"]["word"] == "contradicted"


@pytest.mark.parametrize(
    ("success", "verdict"),
    [
        ([0.93, 0.935, 0.94], "reproduced in miniature"),
        ([0.80, 0.81, 0.82], "contradicted in miniature"),
        ([0.85, 0.90, 0.95], "not shown"),
    ],
)
def test_placement_needs_the_level_and_the_gain(results_root, config, success, verdict):
    set_metric(results_root, "attn2", "success50", success)
    assert verdicts(results_root, config)["C16"]["verdict"] == verdict


@pytest.mark.parametrize(
    ("success", "word"), [([0.93, 0.935, 0.94], Word.NOT_SHOWN), ([0.60, 0.65, 0.70], Word.CONTRADICTED)]
)
def test_a_gain_over_a_base_that_did_not_run_is_not_shown(results_root, config, success, word):
    set_metric(results_root, "attn2", "success50", success)
    arms = {name: arm for name, arm in config.study.arms.items() if name != "base"}
    alone = dataclasses.replace(config, study=dataclasses.replace(config.study, arms=arms))
    rule = next(c.rule for c in read_claims(SOURCE) if c.id == "C16")
    found = rules.judge_placement(rule, gathered(results_root, alone))
    assert found.word == word and found.reason.endswith("no base in this run")


@pytest.mark.parametrize("sign", [1, -1])
def test_a_claim_of_a_size_is_judged_by_the_size(sign):
    """“Explodes” is at least tenfold: a difference that is surely there and surely smaller contradicts it."""
    wanted = "higher" if sign > 0 else "lower"
    for mean, half, expected in ((1.5, 0.3, 1), (0.5, 0.2, -1), (1.1, 0.3, 0), (-2.0, 0.1, -1), (1.5, None, 0)):
        assert rules.direction(Estimate(sign * mean, half, 3), wanted, 1.0) == expected
    assert rules.direction(Estimate(sign * 0.5, 0.2, 3), wanted) == 1


def test_what_is_made_true_by_construction_is_never_reproduced(results_root, config):
    found = verdicts(results_root, config)
    assert {found[c]["verdict"] for c in ("C9", "C11", "C12")} == {"by construction"}


def test_arms_that_the_config_lacks_are_not_tested_in_this_run(results_root, config):
    found = verdicts(results_root, config)
    assert {found[c]["verdict"] for c in ("C7", "C8")} == {"not tested in this run"}
    assert {found[c]["verdict"] for c in ("C6", "C13", "C14", "C17", "C19")} == {"not testable here"}


def found_in(rows, **settings):
    config = from_dict({"study": {"seeds": [0], "arms": rows, "reference": "attn2"}})
    return rules.find_arm(Results("nowhere", config), settings)


def test_a_rule_finds_whole_arms_and_never_one_of_other_steps():
    rows = {"base": {"site": "none"}, "attn2": {}, "attn2-none-long": {"bias": "none", "times_adapter_steps": 5}}
    assert found_in(rows, site="attn2", bias="none") is None
    taken_over = {"mine": {"site": "attn2", "times_adapter_steps": 10, "lr": 0.05}}
    assert found_in(taken_over | rows, site="attn2", bias="fourier") == "attn2"
    assert found_in(rows | {"attn2-none": {"bias": "none", "seeds": 1}}, site="attn2", bias="none") == "attn2-none"


def test_a_rule_never_finds_an_arm_that_draws_with_anothers_adapters():
    rows = {"attn2": {}, "full": {"unet_lr": 1e-3}, "attn2-none": {"bias": "none"}}
    lent = {f"{name}-again": {"adapter": name, "local": i / 2} for i, name in enumerate(rows)}
    config = from_dict({"study": {"seeds": [0], "arms": lent | rows, "reference": "attn2"}})
    assert found_in(lent | rows, site="attn2", bias="fourier") == "attn2"
    assert found_in(lent | rows, site="attn2", bias="none") == "attn2-none"
    assert costs.whole_unet(Results("nowhere", config)) == "full"


def test_a_rule_does_not_choose_between_equal_arms():
    with pytest.raises(UserError, match="attn2 and again are the same arm"):
        found_in({"base": {"site": "none"}, "attn2": {}, "again": {"seeds": 1}}, site="attn2")


def test_measured_claims_get_a_figure_and_no_verdict(results_root, config):
    found = verdicts(results_root, config)
    assert {found[c]["verdict"] for c in ("C5", "C10", "C15")} == {"measured"}
    assert found["C18"]["verdict"] == found["C11"]["verdict"] == "by construction"
    assert "−50.0%" in found["C5"]["measured"]


def test_larger_tiers_drop_the_words_in_miniature():
    assert in_print(Word.REPRODUCED, "demo") == "reproduced in miniature"
    assert in_print(Word.CONTRADICTED, "wukong") == "contradicted"
    assert in_print(Word.MEASURED, "demo") == "measured"


def test_every_claim_of_the_notes_is_there_once():
    assert [c.id for c in read_claims(SOURCE)] == [f"C{i}" for i in range(1, 20)]


def test_the_files_hold_every_claim_and_are_the_same_twice(results_root, config, tmp_path):
    records = claims(config, SOURCE, results_root, tmp_path / "one")
    claims(config, SOURCE, results_root, tmp_path / "two")
    assert (tmp_path / "one/claims.json").read_bytes() == (tmp_path / "two/claims.json").read_bytes()
    written = json.loads((tmp_path / "one/claims.json").read_text(encoding="utf-8"))
    assert written["claims"] == records and sum(written["counts"].values()) == 19
    assert (tmp_path / "one/claims.csv").read_text(encoding="utf-8").count("\nC") == 19


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"ruel": {}}, "ruel"),
        ({"rule": {"kind": "guess"}}, "guess"),
        ({"at_size": "decode"}, "decode"),
        ({"rule": {"kind": "fid"}}, "needs"),
    ],
)
def test_a_wrong_entry_is_refused_by_name(tmp_path, change, named):
    entry = {
        "id": "C1", "claim": "c", "source": "s", "claimed": "x", "test": "t", "in_miniature": "none",
        "at_size": "decide", "rule": {"kind": "fid", "needs": "n"},
    }  # fmt: skip
    (tmp_path / "claims.yaml").write_text(json.dumps({"claims": [entry | change]}), encoding="utf-8")
    with pytest.raises(UserError, match=named) as error:
        read_claims(tmp_path / "claims.yaml")
    assert "C1" in str(error.value)


def photographs(root, values, n, extractor="Inception v3 (inception-2015-12-05.pt) by clean-fid", release="/data"):
    """What is found of C17 where the reference arm has these FIDs of n pictures."""
    for seed, value in enumerate(values):
        path = root / f"scores/attn2/{seed}.json"
        score = json.loads(path.read_text(encoding="utf-8")) | {"n": n, "protocol": {"extractor": extractor}}
        score["metrics"]["fid"] = value
        path.write_text(json.dumps(score), encoding="utf-8")
    arms = {"base": {"site": "none"}, "attn1": {"site": "attn1"}, "attn2": {}}
    for arm in arms:  # a release has people's captions scored as well
        (root / f"scores/people/{arm}").mkdir(parents=True)
        shutil.copy(root / f"scores/{arm}/0.json", root / f"scores/people/{arm}/0.json")
    study = {"reference": "attn2", "seeds": list(range(len(values))), "arms": arms}
    config = from_dict({"run": {"tier": "wukong"}, "world": {"release": release}, "study": study})
    return judge(next(c for c in read_claims(SOURCE) if c.id == "C17"), gathered(root, config))


@pytest.mark.parametrize(
    ("values", "n", "word"),
    [
        ([14.0, 14.2, 14.1], 2_000, Word.REPRODUCED),  # of more pictures it would be lower still
        ([16.0, 16.2, 16.1], 10_000, Word.CONTRADICTED),
        ([16.0, 16.2, 16.1], 9_999, Word.NOT_SHOWN),
        ([14.0, 16.0, 14.5], 10_000, Word.NOT_SHOWN),
        ([9.0], 10_000, Word.NOT_SHOWN),
    ],
)
def test_fid_by_inception_is_held_against_the_level_and_few_pictures_cannot_miss_it(results_root, values, n, word):
    found = photographs(results_root, values, n)
    assert found.word == word and f"of {n:,} pictures" in found.measured and "of real ones" in found.measured
    assert ("10,000 pictures could miss it" in found.reason) == (n == 9_999)
    assert found.numbers[0].values == tuple(values)


@pytest.mark.parametrize(
    ("lacking", "named"),
    [
        ({"release": ""}, "needs real photographs (world.release)"),
        ({"extractor": "class token of DINOv2; not Inception"}, "needs Inception's features (models.features"),
    ],
)
def test_fid_of_another_network_or_of_drawings_is_not_held_against_it(results_root, lacking, named):
    found = photographs(results_root, [14.0, 14.2, 14.1], 10_000, **lacking)
    assert found.word == Word.NOT_HERE and found.reason.startswith(named)


@pytest.mark.parametrize(
    ("described", "words"),
    [
        (
            "templates of colour and shape, nothing learned; …",
            "the evaluator that learns nothing",
        ),
        ("OWLv2, zero-shot, scores above 0.05, no NMS, asked for the names", "the second evaluator (OWLv2)"),
        ("", "the second evaluator"),
    ],
)
def test_the_second_evaluator_is_called_what_it_was(results_root, config, described, words):
    path = results_root / "scores/attn2/0.json"
    score = json.loads(path.read_text(encoding="utf-8")) | {"protocol": {"rules": described} if described else {}}
    path.write_text(json.dumps(score), encoding="utf-8")
    assert f"; by {words} 0.817" in verdicts(results_root, config)["C16"]["measured"]


def test_gradient_norms_of_raw_coordinates_are_compared_where_such_an_arm_is_run(results_root):
    arms = {"base": {"site": "none"}, "attn1": {"coordinates": "raw"}, "attn2": {}}
    config = from_dict({"study": {"seeds": [0, 1, 2], "arms": arms}})
    for arm, norm in [("attn1", 40.0), ("attn2", 2.0)]:
        for seed in range(3):
            path = results_root / f"adapters/{arm}/{seed}/position_net_norms.json"
            path.write_text(json.dumps([0.5, norm + 0.1 * seed, 1.0]), encoding="utf-8")
    found = verdicts(results_root, config)["C7"]
    logs = [math.log10((40 + 0.1 * s) / (2 + 0.1 * s)) for s in range(3)]
    assert found["verdict"] == "reproduced in miniature"
    assert f"+{sum(logs) / 3:.2f} ±" in found["measured"] and "largest of any seed 40 and 2.2" in found["measured"]


def test_a_contrast_under_several_settings_must_hold_under_all(results_root):
    """Under both biases; an arm that the run lacks takes its setting out, and with none left nothing is tested."""
    arms = {"base": {"site": "none"}, "attn1": {"site": "attn1"}, "attn2": {"site": "attn2"}}
    boxed = {"attn1-box": {"site": "attn1", "bias": "box"}, "attn2-box": {"site": "attn2", "bias": "box"}}
    for arm in boxed:
        copy_arm(results_root, arm[:5], arm)
    kids = {"attn1": [0.020, 0.021, 0.022], "attn2": [0.010, 0.011, 0.012]}
    rule = {**SITES, "under": [{"bias": "fourier"}, {"bias": "box"}, {"bias": "none"}], "metrics": {"kid": "lower"}}

    def judged(rows, **kid):
        for arm, values in (kids | kid).items():
            set_metric(results_root, arm.replace("_", "-"), "kid", values)
        study = {"arms": rows, "reference": "attn2", "seeds": [0, 1, 2]}
        return rules.judge_paired(rule, gathered(results_root, from_dict({"study": study})))

    alike = {"attn1_box": [0.020, 0.021, 0.023], "attn2_box": [0.010, 0.011, 0.012]}
    both = judged(arms | boxed, **alike)
    assert both.word == Word.REPRODUCED and len(both.numbers) == 2
    assert "attn2-box − attn1-box" in both.measured and "under 2 settings" in both.reason
    assert judged(arms | boxed, attn1_box=[0.01, 0.03, 0.012], attn2_box=[0.02, 0.011, 0.022]).word == Word.NOT_SHOWN
    assert judged(arms, **alike).word == Word.REPRODUCED
    assert judged({"base": arms["base"], "attn2": arms["attn2"]}, **alike).word == Word.NOT_RUN


def test_gradient_norms_are_compared_over_the_steps_of_the_shorter_run(results_root, config):
    for arm, norms in (("attn1", [5.0, 1.0, 9.0]), ("attn2", [2.0, 3.0])):
        for seed in (0, 1, 2):
            path = results_root / f"adapters/{arm}/{seed}/gradient_norms.json"
            path.write_text(json.dumps(norms))
    rule = {"first": SITES["second"], "second": SITES["first"], "metrics": {"gradient_norm": "higher"}}
    (behind,) = rules.judge_paired(rule, gathered(results_root, config)).numbers
    assert behind.values == pytest.approx([math.log10(5 / 3)] * 3)  # not 9 / 3


def test_a_setting_with_one_seed_is_named_and_not_judged(results_root):
    """Three seeds decide under one setting; under the other there is one, however far it lies on the other side."""
    arms = {"base": {"site": "none"}, "attn1": {"site": "attn1"}, "attn2": {"site": "attn2"}}
    boxed = {"attn1-box": {"site": "attn1", "bias": "box", "seeds": 1}, "attn2-box": {"bias": "box", "seeds": 1}}
    for arm in boxed:
        copy_arm(results_root, arm[:5], arm)
    kids = {"attn1": [0.020, 0.021, 0.022], "attn2": [0.010, 0.011, 0.012], "attn1-box": [0.01], "attn2-box": [0.09]}
    for arm, values in kids.items():
        set_metric(results_root, arm, "kid", values)
    rule = {**SITES, "under": [{"bias": "fourier"}, {"bias": "box"}], "metrics": {"kid": "lower"}}
    config = from_dict({"study": {"arms": arms | boxed, "reference": "attn2", "seeds": [0, 1, 2]}})
    found = rules.judge_paired(rule, gathered(results_root, config))
    assert found.word == Word.REPRODUCED and len(found.numbers) == 1
    assert found.reason.endswith("1 more with one seed, not judged") and "0.09" not in found.measured


def test_the_gradient_and_adams_moments_are_counted_beside_what_is_held(results_root, config):
    verdict = verdicts(results_root, config)["C10"]["measured"]
    one, full = (40_000_000 + 12 * 260_000) / 2**20, (95_000_000 + 12 * 5_800_000) / 2**20
    assert verdict.startswith("bytes held, three UNet forwards −57.9%")
    assert verdict.endswith(f"−{100 * (1 - one / full):.1f}% ({full:.2f} → {one:.2f} MiB)")


def test_measured_shares_have_the_intervals_of_their_file(results_root, config):
    path = results_root / "scores/data.json"
    data = json.loads(path.read_text(encoding="utf-8")) | {"intervals": {"annotation_recall": [0.921, 0.938]}}
    path.write_text(json.dumps(data), encoding="utf-8")
    assert verdicts(results_root, config)["C15"]["measured"] == "mean IoU 0.860; recall 0.930 (0.921 to 0.938)"


def test_boxes_drawn_by_hand_measure_the_annotator_where_no_truth_is_known(results_root, config):
    path = results_root / "scores/data.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    del data["metrics"]["annotation_miou"]
    data["metrics"].pop("annotation_miou_all", None)
    path.write_text(json.dumps(data), encoding="utf-8")
    assert "annotate.labels" in verdicts(results_root, config)["C15"]["reason"]
    data["metrics"]["annotation_miou_all"] = 0.71
    path.write_text(json.dumps(data), encoding="utf-8")
    measured = verdicts(results_root, config)["C15"]["measured"]
    assert measured.startswith("mean IoU, missed ones as 0 0.710; recall 0.930")


@pytest.mark.parametrize(
    "text", ["", "claims:", "claims: 3", "claims: {C1: {}}", "claims: [C1]", "claims: [{rule: x}]"]
)
def test_what_is_no_list_of_claims_is_told(tmp_path, text):
    (tmp_path / "claims.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"claims\.yaml") as error:
        read_claims(tmp_path / "claims.yaml")
    assert error.value.remedy
