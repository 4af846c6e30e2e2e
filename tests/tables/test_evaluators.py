"""The table of two evaluators: both scores of every arm, and the pairs of arms that they order differently."""

import dataclasses
import json

import pytest
from fake_results import gathered, put

from gillnext.config.model import Score
from gillnext.runtime.errors import UserError
from gillnext.tables import evaluators
from gillnext.tables.build import main_table
from gillnext.tables.distances import distances_note
from gillnext.tables.evaluators import evaluators_table, ordering
from gillnext.tables.order import disagreements


def set_metric(root, arm, **metrics):
    for seed in range(3):
        path = root / f"scores/{arm}/{seed}.json"
        value = json.loads(path.read_text(encoding="utf-8"))
        value["metrics"] |= metrics
        path.write_text(json.dumps(value), encoding="utf-8")


def test_each_arm_and_ceiling_stands_with_both_scores(results_root, config):
    set_metric(results_root, "attn1", success50=0.8, rules_success50=0.7, miou=0.6, rules_miou=0.5)
    table = evaluators_table(gathered(results_root, config))
    rows = {r["arm"]: r for r in table.records()}
    assert list(rows) == ["base", "attn1", "attn2", "real images", "real, via VAE", "attn2, boxes redrawn"]
    assert rows["attn2, boxes redrawn"]["rules_success50"] == "0.020"
    keys = ("success50", "rules_success50", "miou", "rules_miou")
    assert [rows["attn1"][key] for key in keys] == ["0.800", "0.700", "0.600", "0.500"]


def test_agreement_on_the_order_is_said(results_root, config):
    notes = evaluators_table(gathered(results_root, config)).notes
    assert "success@0.5: both evaluators put all 3 pairs of arms in the same order." in notes


def test_a_pair_that_is_ordered_differently_is_named(results_root, config):
    set_metric(results_root, "attn1", success50=0.8, rules_success50=0.75)
    set_metric(results_root, "attn2", success50=0.9, rules_success50=0.70)
    results = gathered(results_root, config)
    assert disagreements(results, "success50", "rules_success50") == [("attn2", "attn1")]
    (note,) = [n for n in evaluators_table(results).notes if "not on" in n]
    assert "2 of 3 pairs" in note and "attn2 above attn1 by the learned one" in note


def test_of_many_pairs_in_opposite_order_those_are_named_that_seeds_tell_apart(results_root, config, monkeypatch):
    monkeypatch.setattr(evaluators, "NAMED", 0)
    set_metric(results_root, "attn1", success50=0.8, rules_success50=0.75)
    set_metric(results_root, "attn2", success50=0.9, rules_success50=0.70)
    results = gathered(results_root, config)
    note = ordering(results, "success50")  # the same at every seed: told apart by both
    assert "2 of 3 pairs of arms, not on attn2 above attn1 by the learned one" in note
    path = results_root / "scores/attn1/0.json"
    value = json.loads(path.read_text(encoding="utf-8"))
    value["metrics"]["rules_success50"] = 0.62  # at one seed the rules agree: not told apart
    path.write_text(json.dumps(value), encoding="utf-8")
    note = ordering(gathered(results_root, config), "success50")
    assert "attn2 above attn1" not in note
    headline = dataclasses.replace(config, study=dataclasses.replace(config.study, headline=[["attn1", "attn2"]]))
    assert "attn2 above attn1" in ordering(gathered(results_root, headline), "success50")  # always named


def test_a_tie_is_no_disagreement(results_root, config):
    set_metric(results_root, "attn1", success50=0.8, rules_success50=0.7)
    set_metric(results_root, "attn2", success50=0.9, rules_success50=0.7)
    assert disagreements(gathered(results_root, config), "success50", "rules_success50") == []


def test_kid_and_cmmd_in_opposite_order_are_told_and_named_where_seeds_tell(results_root, config):
    for arm, kid, cmmd in (("base", 20.0, 3.0), ("attn1", 8.0, 1.0), ("attn2", 7.0, 2.0)):
        set_metric(results_root, arm, kid=kid, cmmd=cmmd)  # the same at every seed: told apart
    note = distances_note(gathered(results_root, config))
    assert note.startswith("KID and CMMD agree on the order of 2 of 3 pairs of arms; of the others seeds tell 1 apart")
    assert note.endswith("among them, attn2 is nearer than attn1 by KID and farther by CMMD.")
    path = results_root / "scores/attn2/0.json"
    value = json.loads(path.read_text(encoding="utf-8"))
    value["metrics"]["cmmd"] = 0.5
    path.write_text(json.dumps(value), encoding="utf-8")
    assert "seeds tell none apart by both." in distances_note(gathered(results_root, config))
    set_metric(results_root, "attn2", cmmd=0.5)
    note = distances_note(gathered(results_root, config))
    assert note == "KID and CMMD put all 3 pairs of arms in the same order."


def test_a_second_kid_stands_beside_the_first_where_the_run_has_it(results_root, config):
    assert "kid_lite0" not in [column.key for column in main_table(gathered(results_root, config)).columns]
    config = dataclasses.replace(config, score=Score(second_features="efficientnet-lite0"))
    for arm, kid, second in (("base", 20.0, 0.5), ("attn1", 8.0, 0.3), ("attn2", 7.0, 0.4)):
        set_metric(results_root, arm, kid=kid)
        for seed in config.study.seeds_of(arm):
            put(results_root / f"distances/{arm}/{seed}.json", second_kid(second))
    for name, value in (("real", 0.0), ("vae", 0.1234)):
        put(results_root / f"distances/ceilings/{name}.json", second_kid(value))
    results = gathered(results_root, config)
    table = main_table(results)
    keys = [column.key for column in table.columns]
    assert keys.index("kid_lite0") == keys.index("kid") + 1 and all(len(row) == len(keys) for row in table.rows)
    rows = {row["arm"]: row["kid_lite0"] for row in table.records()}
    assert rows["attn1"] == "0.300" and rows["real, via VAE"] == "0.123"
    assert any("attn2 is nearer than attn1 by KID and farther by KID, Lite0" in note for note in table.notes)
    found = results.scores.filter(metric="kid_lite0")
    assert set(found["instrument"]) == {"efficientnet-lite0"} and found.height == 3 * 3 + 2
    (results_root / "distances/attn1/1.json").unlink()
    with pytest.raises(UserError, match="no such score file"):
        gathered(results_root, config)


def second_kid(value):
    return {"metrics": {"kid_lite0": value, "kid_lite0_se": 0.01}, "protocol": {"kid_lite0": "x"}, "hashes": {}}


def test_a_score_file_without_the_rules_is_named(results_root, config):
    path = results_root / "scores/attn1/0.json"
    value = json.loads(path.read_text(encoding="utf-8"))
    del value["metrics"]["rules_miou"]
    path.write_text(json.dumps(value), encoding="utf-8")
    with pytest.raises(UserError, match="rules_miou"):
        evaluators_table(gathered(results_root, config))
