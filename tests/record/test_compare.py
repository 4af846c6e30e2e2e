"""`gillnext compare`: every number of two runs' records against a walk over their score files; what lacks is named."""

import json
import math
import shutil

import polars as pl
import pytest

from gillnext.cli import main
from gillnext.record.compare import differences
from gillnext.record.gather import gather
from gillnext.runtime.errors import UserError


@pytest.fixture
def runs(config, results_root, tmp_path):
    gather(config, results_root)
    shutil.copytree(results_root, tmp_path / "b")
    return results_root, tmp_path / "b"


def change(root, metric, new):
    """Change one number of the record: attn1's at seed 0."""
    scores = pl.read_parquet(root / "scores.parquet")
    mine = (pl.col("metric") == metric) & (pl.col("arm") == "attn1") & (pl.col("seed") == 0) & (pl.col("by") == "")
    mine &= (pl.col("split") == "test") & (pl.col("instrument") != "second evaluator")
    assert scores.filter(mine).height == 1
    value = pl.when(mine).then(new(pl.col("value"))).otherwise(pl.col("value"))
    scores.with_columns(value=value).write_parquet(root / "scores.parquet")


def test_a_run_is_the_same_as_itself(runs, capsys):
    assert main(["compare", *map(str, runs)]) == 0
    count = sum(pl.read_parquet(runs[0] / name).height for name in ("scores.parquet", "curves.parquet"))
    assert f"{count:,} values, largest difference 0.0e+00" in capsys.readouterr().out


def test_the_differences_are_those_of_a_walk_over_the_score_files(config, runs):
    path = runs[1] / "scores/attn1/0.json"
    score = json.loads(path.read_text(encoding="utf-8"))
    before = dict(score["metrics"])
    score["metrics"] = {name: 1.5 * value + 0.25 for name, value in before.items()}
    path.write_text(json.dumps(score), encoding="utf-8")
    gather(config, runs[1])
    expected = {
        name: abs(value - after) / max(1, abs(value), abs(after))
        for name, value in before.items()
        for after in [score["metrics"][name]]
    }
    found = differences(*runs).filter(pl.col("difference") > 0)
    assert sorted(found["difference"]) == pytest.approx(sorted(expected.values()), rel=1e-12)
    assert all("/attn1/0/test//" in place for place in found["place"])


@pytest.mark.parametrize(("shift", "status"), [(5e-5, 0), (3e-4, 2)])
def test_a_value_beyond_the_tolerance_fails_and_is_named(runs, capsys, shift, status):
    change(runs[1], "miou", lambda value: value + shift)
    assert main(["compare", *map(str, runs)]) == status
    assert ("miou/evaluator/attn1/0/test//" in capsys.readouterr().err) == bool(status)


def test_a_number_that_is_none_is_infinitely_far(runs):
    change(runs[1], "miou", lambda value: value * math.nan)
    found = differences(*runs)
    assert found["difference"].max() == math.inf and found.filter(pl.col("difference") > 0).height == 1
    change(runs[0], "miou", lambda value: value * math.nan)
    assert differences(*runs)["difference"].max() == 0


def test_a_missing_number_or_table_is_named(runs):
    scores = pl.read_parquet(runs[1] / "scores.parquet")
    scores.filter(pl.col("metric") != "fid").write_parquet(runs[1] / "scores.parquet")
    for a, b in (runs, runs[::-1]):
        with pytest.raises(UserError, match=r"b: \d+ numbers of the other run are not here, first 'fid/"):
            differences(a, b)
    (runs[1] / "curves.parquet").unlink()
    with pytest.raises(UserError, match=r"curves\.parquet: not there"):
        differences(*runs)
