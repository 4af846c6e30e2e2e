"""The table of whole runs: spreads against scipy, equal runs once, read as it was written, broken rows told."""

import numpy as np
import pytest
from scipy import stats

from gillnext.runtime.errors import UserError
from gillnext.tables.runs import Row, Runs, read, read_rows, text


def runs_of(**numbers):
    """Runs a, b, … with these numbers, each a list over runs."""
    count = len(next(iter(numbers.values())))
    return Runs({chr(97 + i): {name: values[i] for name, values in numbers.items()} for i in range(count)})


@pytest.mark.parametrize("n", [2, 3, 7])
def test_the_interval_for_one_run_more_is_scipys(n):
    values = np.random.default_rng(n).normal(0.8, 0.02, n).tolist()
    low, high = stats.t.interval(0.95, n - 1, loc=np.mean(values), scale=np.std(values, ddof=1) * np.sqrt(1 + 1 / n))
    runs = runs_of(x=values)
    mean, half = runs.mean("x"), runs.half("x")
    assert (mean - half, mean + half) == pytest.approx((low, high))


def test_a_pool_shares_the_deviation_and_adds_no_degree_of_freedom():
    runs = runs_of(x=[0.80, 0.82, 0.81], y=[0.70, 0.76, 0.70], z=[0.1, 0.9, 0.5])
    pooled = np.sqrt((np.var([0.80, 0.82, 0.81], ddof=1) + np.var([0.70, 0.76, 0.70], ddof=1)) / 2)
    found = runs.spread("x", ["x", "y", "w"])  # of w there is no run
    assert found.freedom == 2 and found.deviation == pytest.approx(pooled)


def test_fewer_than_two_runs_tell_no_spread():
    assert runs_of(x=[0.8]).half("x") is None and Runs({}).half("x") is None
    assert runs_of(x=[0.8, 0.9]).half("y") is None


def test_runs_of_equal_values_count_once_and_no_run_is_judged_by_itself():
    runs = Runs({"a": {"x": 0.8, "y": 1.0}, "b": {"x": 0.8 * (1 + 1e-12), "y": 1.0}, "c": {"x": 0.9, "y": 1.0}})
    assert list(runs.runs) == ["a", "c"]
    assert list(runs.without({"x": 0.9, "y": 1.0, "z": 5.0}).runs) == ["a"]
    assert list(runs.without({"x": 0.9, "y": 1.1}).runs) == ["a", "c"]
    assert list(runs.without({}).runs) == ["a", "c"]


def row(run, number, value):
    return Row(run, "fast", "Xeon, with AVX-512", 1, 20260, "abc", number, "success50", value)


def test_a_table_is_read_as_it_was_written(tmp_path):
    rows = [row("b", "attn2, success@0.5", 0.8631666666666667), row("a", "attn2, success@0.5", 1 / 3)]
    path = tmp_path / "demo.csv"
    path.write_text(text(rows), encoding="utf-8")
    assert [r.run for r in read_rows(path)] == ["a", "b"]
    assert read(path).values("attn2, success@0.5") == pytest.approx([1 / 3, 0.8631666666666667], rel=1e-11)
    assert read_rows(path)[0].processor == "Xeon, with AVX-512"
    assert read(None).runs == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.replace("number,metric", "metric"), "other columns"),
        (lambda t: t.replace("0.5\n", "half\n"), "line 2"),
    ],
)
def test_a_broken_table_is_told(tmp_path, change, message):
    path = tmp_path / "demo.csv"
    path.write_text(change(text([row("a", "x", 0.5)])), encoding="utf-8")
    with pytest.raises(UserError, match=message):
        read(path)
    with pytest.raises(UserError, match="gillnext runs --add"):
        read(tmp_path / "study.csv")
