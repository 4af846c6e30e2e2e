"""The result tables of a made-up run: right means, the same bytes twice, no times, missing things named."""

import dataclasses
import json

import numpy as np
import pytest
from fake_results import gathered
from scipy import stats
from table_files import edit, rows_of

from gillnext.config.load import from_dict
from gillnext.runtime import seeds
from gillnext.runtime.errors import UserError
from gillnext.statistics import RESAMPLES
from gillnext.tables import stage
from gillnext.tables.table import decimals


def tables(config, root, out, *more):
    """The tables of the tree as it is now."""
    gathered(root, config)
    stage.tables(config, root, out, *more)


def test_means_and_intervals_are_those_of_the_score_files(results_root, config, tmp_path):
    tables(config, results_root, tmp_path / "t")
    values = [json.loads((results_root / f"scores/attn1/{s}.json").read_text())["metrics"]["kid"] for s in range(3)]
    row = next(r for r in rows_of(tmp_path / "t/main.csv") if r["arm"] == "attn1")
    half = stats.t.ppf(0.975, 2) * stats.sem(values)
    assert (row["kid"], row["kid_ci95"]) == (f"{np.mean(values):.2f}", f"{half:.2f}")
    numbers = json.loads((tmp_path / "t/numbers.json").read_text(encoding="utf-8"))
    assert numbers["arm.attn1.kid"] == f"{decimals(np.mean(values), 2)} ± {half:.2f}"


def test_the_same_scores_give_the_same_bytes(results_root, config, tmp_path):
    tables(config, results_root, tmp_path / "one")
    tables(config, results_root, tmp_path / "two")
    names = sorted(p.name for p in (tmp_path / "one").iterdir())
    assert names == sorted(p.name for p in (tmp_path / "two").iterdir())
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_seconds_and_resident_memory_do_not_enter_result_tables(results_root, config, tmp_path):
    tables(config, results_root, tmp_path / "before")
    edit(
        results_root / "memory.json",
        lambda m: [mode.update(seconds=99.9, peak_rss_bytes=1) for mode in m["modes"].values()],
    )
    tables(config, results_root, tmp_path / "after")
    for path in (tmp_path / "before").iterdir():
        assert path.read_bytes() == (tmp_path / "after" / path.name).read_bytes()


def test_a_missing_score_file_is_named_with_the_command_that_makes_it(results_root, config, tmp_path):
    (results_root / "scores/attn1/2.json").unlink()
    with pytest.raises(UserError) as error:
        tables(config, results_root, tmp_path / "t")
    assert "attn1/2.json" in str(error.value) and "gillnext score --arm attn1 --seed 2" in str(error.value)
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize(
    ("file", "metric", "named"),
    [
        ("scores/attn2/0.json", "ap50", "attn2/0/test"),
        ("plans/planner.json", "miou", "planner"),
        ("scores/data.json", "filter_recall", "data"),
    ],
)
def test_a_missing_metric_is_named(results_root, config, tmp_path, file, metric, named):
    edit(results_root / file, lambda score: score["metrics"].pop(metric))
    with pytest.raises(UserError, match=metric) as error:
        tables(config, results_root, tmp_path / "t")
    assert f": {named}: metric" in str(error.value)


def test_both_intervals_of_an_arm_and_of_a_contrast_are_those_of_scipy_and_of_a_loop(results_root, config, tmp_path):
    """The bootstrap resamples pictures, the same for all seeds and for both arms of a contrast."""
    study = dataclasses.replace(config, study=dataclasses.replace(config.study, headline=[["attn2", "attn1"]]))
    tables(study, results_root, tmp_path / "t")
    rows = {(r["arm"], r["metric"]): r for r in rows_of(tmp_path / "t/intervals.csv")}
    assert {arm for arm, _ in rows} == {"base", "attn1", "attn2", "attn2 − attn1"}

    def scores(arm):
        return [json.loads((results_root / f"scores/{arm}/{seed}.json").read_text()) for seed in range(3)]

    def resampled(arms, *names):
        """Means over seeds of hits a box, first arm less second, over the resamples of the pictures."""
        images, means = [[one["per_image"] for one in scores(arm)] for arm in arms], []
        count = len(images[0][0]["boxes"])
        for draw in seeds.rng("bootstrap", *names).integers(count, size=(RESAMPLES, count)):
            shares = [
                [sum(seed["hits"][i] for i in draw) / sum(seed["boxes"][i] for i in draw) for seed in of_arm]
                for of_arm in images
            ]
            means.append(np.mean(shares[0]) - (np.mean(shares[1]) if len(shares) > 1 else 0))
        return np.quantile(means, [0.025, 0.975])

    for arms, name in ((["attn1"], "attn1"), (["attn2", "attn1"], "attn2 − attn1")):
        row = rows[name, "success@0.5"]
        values = [[one["metrics"]["success50"] for one in scores(arm)] for arm in arms]
        over = np.subtract(*values) if len(values) > 1 else np.array(values[0])
        low, high = stats.t.interval(0.95, 2, loc=over.mean(), scale=stats.sem(over))
        assert row["seeds"] == f"{decimals(low, 3)} to {decimals(high, 3)}"
        low, high = resampled(arms, *arms, "success50")
        assert row["images"] == f"{decimals(low, 3)} to {decimals(high, 3)}"


def test_the_tables_of_parts_that_are_there_once_print_value_interval_and_number(results_root, config, tmp_path):
    interval = {"filter_precision": [0.9641, 0.9759]}
    edit(results_root / "scores/data.json", lambda s: s.update(intervals=interval))
    tables(config, results_root, tmp_path / "t")
    rows = {r["metric"]: r for r in rows_of(tmp_path / "t/data.csv")}
    row = rows["filter: precision (spatial)"]
    assert (row["value"], row["ci95"], row["n"]) == ("0.970", "0.964 to 0.976", "4000")
    row = rows["annotation: mean IoU, objects found"]
    assert (row["value"], row["ci95"], row["n"]) == ("0.860", "", "4004")
    assert rows["bytes, filter first"]["value"] == "7654321"
    (row,) = [r for r in rows_of(tmp_path / "t/planner.csv") if r["metric"] == "spatial accuracy"]
    assert (row["value"], row["n"]) == ("0.930", "300")
    (row,) = rows_of(tmp_path / "t/relations.csv")
    assert (row["arm"], row["n"], row["n_relations"]) == ("attn2", "24", "31")
    assert (row["relation_accuracy"], row["rules_relation_accuracy"]) == ("0.810", "0.610")
    half = stats.t.ppf(0.975, 2) * stats.sem([0.80, 0.81, 0.82])
    assert row["relation_accuracy_ci95"] == f"{half:.3f}"


def test_one_seed_gives_tables_without_intervals(results_root, tmp_path):
    config = from_dict({"study": {"seeds": [1], "reference": "attn2", "arms": {"base": {"site": "none"}, "attn2": {}}}})
    tables(config, results_root, tmp_path / "t")
    rows = rows_of(tmp_path / "t/main.csv")
    assert [r["arm"] for r in rows[:2]] == ["base", "attn2"] and rows[1]["fid_ci95"] == ""


def test_the_memory_table_has_both_families_of_losses(results_root, config, tmp_path):
    tables(config, results_root, tmp_path / "t")
    rows = {(r["workload"], r["mode"]): r for r in rows_of(tmp_path / "t/memory.csv")}
    assert len(rows) == 6 + 5 + 3
    assert float(rows["UNet", "split"]["against_summed"]) == pytest.approx(-66.7)
    assert float(rows["GILL-like", "split"]["against_summed"]) == pytest.approx(-16.0)
    assert float(rows["GILL, L2", "split"]["against_summed"]) == pytest.approx(-50.0)
    assert float(rows["GILL-like", "split, two halves"]["gradient_difference"]) == 0.41
    numbers = json.loads((tmp_path / "t/numbers.json").read_text(encoding="utf-8"))
    assert (numbers["memory.split.reduction"], numbers["memory.gill.split.reduction"]) == ("66.7%", "16.0%")
    assert numbers["memory.additivity.infonce"] == "6.0e−1"


def test_without_gills_losses_the_memory_table_is_the_unets(results_root, config, tmp_path):
    edit(results_root / "memory.json", lambda m: [m.pop("gill"), m.pop("gill_l2"), m.pop("additivity")])
    tables(config, results_root, tmp_path / "t")
    assert {r["workload"] for r in rows_of(tmp_path / "t/memory.csv")} == {"UNet"}
