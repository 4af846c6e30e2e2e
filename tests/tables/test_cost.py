"""Cost tables from Snakemake's benchmark files."""

import csv
import dataclasses
import json
import os

import pytest

from gillnext.record import jobs as benchmarks
from gillnext.record.jobs import Job
from gillnext.runtime.errors import UserError
from gillnext.tables.cost import cost


def rows(path):
    with open(path, encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def test_seconds_are_summed_and_peaks_are_the_largest(results_root, config, tmp_path):
    cost(config, results_root / "benchmarks", results_root / "memory.json", tmp_path / "cost")
    rules = {row["rule"]: row for row in rows(tmp_path / "cost/rules.csv")}
    assert rules["adapter"] == {
        "rule": "adapter", "jobs": "2", "seconds": "118.0", "longest": "60.0", "cpu_seconds": "116.0",
        "peak_mib": "1510",
    }  # fmt: skip
    assert rules["tables"]["peak_mib"] == "–"
    assert rows(tmp_path / "cost/backward.csv")[0]["milliseconds"] == "300.0"


def test_wall_clock_is_the_time_in_which_any_job_ran():
    jobs = [Job("a", 10, None, 100.0, 10.0), Job("b", 4, None, 300.0, 12.0), Job("c", 5, None, 250.0, 1000.0)]
    assert benchmarks.busy_seconds(jobs) == 10 + 2 + 5
    assert benchmarks.peak_mib(jobs) == 400.0


@pytest.fixture
def of_26_minutes(tmp_path):
    """The benchmarks of a run with one job."""
    (tmp_path / "benchmarks/base").mkdir(parents=True)
    (tmp_path / "benchmarks/base/all.tsv").write_text("s\tmax_rss\n1560.0\t900\n", encoding="utf-8")
    return tmp_path / "benchmarks"


def of_tier(config, tier):
    return dataclasses.replace(config, run=dataclasses.replace(config.run, tier=tier))


@pytest.mark.parametrize(("tier", "bar", "met"), [("demo", 15, "no"), ("scratch", 25, "no"), ("study", 150, "yes")])
def test_bars_on_time_follow_the_tier(results_root, config, tmp_path, of_26_minutes, tier, bar, met):
    cost(of_tier(config, tier), of_26_minutes, results_root / "memory.json", tmp_path / "cost")
    first = rows(tmp_path / "cost/bars.csv")[0]
    assert (first["bar"], first["measured"], first["met"]) == (f"≤ {bar} min", "26.0 min", met)  # fast: it names none


def test_jobs_that_end_after_the_cost_table_are_in_none(config, results_root, tmp_path):
    """Or a run that is taken up again would have other costs than one that is not."""
    for name in ("first", "second"):
        cost(config, results_root / "benchmarks", results_root / "memory.json", tmp_path / name)
        for rule in sorted(benchmarks.LATER):
            (results_root / "benchmarks" / rule).mkdir(exist_ok=True)
            (results_root / "benchmarks" / rule / "all.tsv").write_text("s\tmax_rss\n9.0\t1\n", encoding="utf-8")
    assert rows(tmp_path / "first/rules.csv") == rows(tmp_path / "second/rules.csv")


def test_the_bar_on_time_is_that_of_the_arithmetic_and_the_machine_is_named(
    results_root, config, tmp_path, of_26_minutes
):
    memory = json.loads((results_root / "memory.json").read_text(encoding="utf-8"))
    memory["provenance"] = {"arithmetic": "portable", "processor": "Abacus 7", "libc": "glibc 2.36"}
    (tmp_path / "memory.json").write_text(json.dumps(memory), encoding="utf-8")
    cost(of_tier(config, "scratch"), of_26_minutes, tmp_path / "memory.json", tmp_path / "cost")
    first = rows(tmp_path / "cost/bars.csv")[0]
    assert (first["bar"], first["measured"], first["met"]) == ("≤ 30 min", "26.0 min", "yes")
    notes = json.loads((tmp_path / "cost/rules.json").read_text(encoding="utf-8"))["notes"]
    assert "In portable arithmetic on Abacus 7, glibc 2.36." in notes


def test_no_benchmarks_and_a_broken_one_are_user_errors(tmp_path):
    with pytest.raises(UserError, match="no benchmark files"):
        benchmarks.read(tmp_path)
    (tmp_path / "rule.tsv").write_text("s\tmax_rss\nsoon\t1\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"rule\.tsv"):
        benchmarks.read(tmp_path)


def test_rules_come_in_the_order_in_which_they_first_ended(results_root):
    folder = results_root / "benchmarks"
    for path, when in [("tables/all.tsv", 30), ("world/all.tsv", 10), ("adapter/attn1_0.tsv", 20)]:
        os.utime(folder / path, (when, when))
    names = list(dict.fromkeys(job.rule for job in benchmarks.read(folder)))
    assert names == ["world", "adapter", "tables"]
