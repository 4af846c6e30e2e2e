"""Bars: met or missed by an interval, undecided where it holds the threshold, and what the interval is of."""

import dataclasses
import json

import numpy as np
import pytest
from fake_results import gathered
from scipy import stats
from table_files import edit, rows_of

from gillnext.statistics import Estimate
from gillnext.tables import stage
from gillnext.tables.bars import BARS, Bar, bars_table, best
from gillnext.tables.runs import COLUMNS, Runs


def tables(config, root, out, *more):
    """The tables of the tree as it is now."""
    gathered(root, config)
    stage.tables(config, root, out, *more)


def bar(results, name, runs=None):
    """One row of the table, by column."""
    (row,) = [row for row in bars_table(results, runs).records() if row["name"] == name]
    return row


def test_bars_are_met_or_not_by_their_thresholds(results_root, config, tmp_path):
    edit(results_root / "scores/data.json", lambda s: s["metrics"].update(filter_precision=0.9499))
    tables(config, results_root, tmp_path / "t")
    rows = {r["name"]: r for r in rows_of(tmp_path / "t/bars.csv")}
    assert len(rows) == sum(not bar.tiers or config.run.tier in bar.tiers for bar in BARS)
    assert rows["filter, precision for spatial"]["met"] == "no"
    assert rows["filter, recall for spatial"]["met"] == "yes"
    images = rows["test images of the reference arm, each seed"]
    assert (images["met"], images["measured_ci95"], images["basis"]) == ("no", "", "exact")
    assert rows["filter, recall for spatial"]["basis"] == "this run alone"


@pytest.mark.parametrize(
    ("value", "printed"), [(0.7499, "0.7499"), (0.74999, "0.74999"), (0.7504, "0.750"), (0.75, "0.750"), (0.7, "0.700")]
)
def test_a_value_never_looks_as_if_it_met_the_bar_that_it_misses(value, printed):
    bar = Bar("x", "x", ">=", 0.75, lambda results: Estimate(value, None, 1))
    assert bar.shown(Estimate(value, None, 1)).text == printed


def test_the_study_has_bars_of_its_own_for_its_best_arm(results_root, config, tmp_path):
    for seed, (success, clip, kid) in enumerate([(0.95, 30.0, 20), (0.97, 31.0, 30), (0.96, 32.0, 10)]):
        scores = {"success50": success, "clip_score": clip, "kid": kid, "miou": 0.7}
        edit(results_root / f"scores/attn1/{seed}.json", lambda s, new=scores: s["metrics"].update(new))
        scores = {"success50": 0.1, "clip_score": 30.5, "kid": 10}
        edit(results_root / f"scores/base/{seed}.json", lambda s, new=scores: s["metrics"].update(new))
        curve = [{"step": 100, "success50": 0.99 - 0.01 * seed, "miou": 0.8}]  # on validation layouts the better one
        (results_root / f"curves/attn1/{seed}/curve.json").write_text(json.dumps(curve), encoding="utf-8")
    edit(results_root / "scores/attn2/0.json", lambda s: s["metrics"].update(success50=1.2))  # on test: no choice
    study = dataclasses.replace(config, run=dataclasses.replace(config.run, tier="study"))
    tables(study, results_root, tmp_path / "t")
    rows = {r["name"]: r for r in rows_of(tmp_path / "t/bars.csv")}
    best = "best arm (attn1)"
    measured = {name: (rows[f"{best}{name}"]["measured"], rows[f"{best}{name}"]["met"]) for name in
                (", success@0.5", ", mIoU", " over the base, CLIP score")}  # fmt: skip
    # 0.96 ± 0.025 holds 0.95; the CLIP scores' difference is 0.5 ± 2.5.
    assert list(measured.values()) == [("0.960", "undecided"), ("0.700", "no"), ("0.50", "undecided")]
    low = rows[f"{best} over the base, KID, lower end of the interval"]
    assert float(low["measured"].replace("−", "-")) == pytest.approx(10 - 4.303 * 10 / 3**0.5, abs=1e-2)
    assert (low["met"], low["measured_ci95"], low["basis"]) == ("yes", "", "interval's end")
    one = dataclasses.replace(study, study=dataclasses.replace(study.study, seeds=[0], headline_seeds=[0]))
    tables(one, results_root, tmp_path / "one")  # a single seed has no interval
    rows = {r["name"]: r for r in rows_of(tmp_path / "one/bars.csv")}
    assert rows[f"{best} over the base, KID, lower end of the interval"]["measured"] == "10.00"
    for path in results_root.glob("curves/*/*/curve.json"):
        path.write_text("[]", encoding="utf-8")  # adapter.snapshot_every: null
    tables(study, results_root, tmp_path / "blind")
    assert "best arm (attn2), mIoU" in {r["name"] for r in rows_of(tmp_path / "blind/bars.csv")}  # the reference arm


def test_a_bar_on_the_best_arm_is_told_by_its_field_and_not_by_its_key(results_root, config, monkeypatch):
    results = gathered(results_root, config)
    one = Bar("any", "best arm, mIoU", ">=", 0.75, lambda results: Estimate(0.8, None, 1), of_best=True)
    for bars, name, said in ([one], f"best arm ({best(results)}), mIoU", True), ([], "", False):
        monkeypatch.setattr("gillnext.tables.bars.BARS", [*bars, Bar("best_x", "x", ">=", 0.75, one.measure)])
        table = bars_table(results)
        assert [row["name"] for row in table.records()] == [*filter(None, [name]), "x"]
        assert any("best arm" in note for note in table.notes) is said


SUCCESS = "reference arm, success@0.5"


@pytest.mark.parametrize(
    ("values", "met"),
    [([0.90, 0.91, 0.92], "yes"), ([0.80, 0.86, 0.92], "undecided"), ([0.70, 0.71, 0.72], "no")],
)
def test_over_seeds_the_t_interval_decides(results_root, config, values, met):
    for seed, value in enumerate(values):
        edit(results_root / f"scores/attn2/{seed}.json", lambda s, v=value: s["metrics"].update(success50=v))
    found = bar(gathered(results_root, config), SUCCESS)
    low, high = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    assert (found["met"], found["basis"]) == (met, "3 seeds, one base")
    assert found["measured_ci95"] == f"{(high - low) / 2:.3f}"


def test_whole_runs_decide_where_two_are_at_hand(results_root, config):
    """The seeds of one run lie close together above the bar; whole runs spread over it."""
    for seed, value in enumerate([0.899, 0.90, 0.901]):
        edit(results_root / f"scores/attn2/{seed}.json", lambda s, v=value: s["metrics"].update(success50=v))
    results, key = gathered(results_root, config), "bar: reference_success50"
    assert bar(results, SUCCESS)["met"] == "yes"
    one = Runs({"a": {key: 0.88}})
    assert bar(results, SUCCESS, one)["basis"] == "3 seeds, one base"
    known = [0.88, 0.90, 0.83]
    runs = Runs({str(i): {key: value} for i, value in enumerate(known)})
    found, half = bar(results, SUCCESS, runs), stats.t.ppf(0.975, 2) * np.std(known, ddof=1)
    assert (found["met"], found["basis"], found["measured"]) == ("undecided", "3 whole runs", "0.900")
    assert found["measured_ci95"] == f"{half:.3f}"
    near = Runs({str(i): {key: value} for i, value in enumerate([0.88, 0.885, 0.89])})
    assert bar(results, SUCCESS, near)["met"] == "yes"


def test_a_number_that_a_run_has_once_is_undecided_by_whole_runs_alone(results_root, config):
    """0.97 against 0.95, with a binomial interval that is far above: other runs have 0.90."""
    edit(results_root / "scores/data.json", lambda s: s.update(intervals={"filter_precision": [0.965, 0.975]}))
    results, name = gathered(results_root, config), "filter, precision for spatial"
    assert bar(results, name) == {
        "name": name, "bar": "≥ 0.95", "measured": "0.970", "measured_ci95": "", "basis": "this run alone",
        "met": "yes",
    }  # fmt: skip
    runs = Runs({"a": {"bar: filter_precision": 0.97}, "b": {"bar: filter_precision": 0.90}})
    assert bar(results, name, runs)["met"] == "undecided"


def test_exact_bars_have_no_interval_whatever_runs_there_are(results_root, config):
    runs = Runs({"a": {"bar: gradients": 1e-7}, "b": {"bar: gradients": 1.0}})
    found = bar(gathered(results_root, config), "split against summed backward, relative Δg", runs)
    assert (found["met"], found["measured_ci95"], found["basis"]) == ("yes", "", "exact")


def test_the_chance_ratios_interval_is_that_of_the_ratios_seed_by_seed(results_root, config):
    scores = [json.loads((results_root / f"scores/attn2/{s}.json").read_text())["metrics"] for s in range(3)]
    ratios = [s["chance_success50"] / s["success50"] for s in scores]
    found = bar(gathered(results_root, config), "chance level, boxes redrawn, as a share of the arm's success")
    mean = sum(s["chance_success50"] for s in scores) / sum(s["success50"] for s in scores)
    half = stats.t.ppf(0.975, 2) * stats.sem(ratios)
    assert (found["measured"], found["measured_ci95"]) == (f"{mean:.3f}", f"{half:.3f}")


def test_an_interval_that_ends_at_the_threshold_decides():
    wanted = Bar("x", "x", ">=", 0.75, lambda results: Estimate(0.0, None, 1))
    assert wanted.verdict(Estimate(0.76, 0.0101, 3)) == "undecided"
    assert wanted.verdict(Estimate(0.76, 0.01, 3)) == "yes" and wanted.verdict(Estimate(0.74, 0.0099, 3)) == "no"


def test_the_stage_reads_the_table_of_whole_runs(results_root, config, tmp_path):
    lines = [",".join(COLUMNS)]
    lines += [f"{run},fast,a,1,1,c,bar: filter_recall,filter_recall,{v}" for run, v in (("a", 0.94), ("b", 0.5))]
    (tmp_path / "demo.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    tables(config, results_root, tmp_path / "t", tmp_path / "demo.csv")
    rows = {row["name"]: row for row in rows_of(tmp_path / "t/bars.csv")}
    assert rows["filter, recall for spatial"]["met"] == "undecided"
    assert rows["filter, recall for spatial"]["basis"] == "2 whole runs"
