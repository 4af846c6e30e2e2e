"""The table of what moves a score: each row against the draws that its file tells of."""

import numpy as np
import pytest

from gillnext.runtime import files
from gillnext.statistics import components
from gillnext.tables import stage
from gillnext.tables.variance import LAYOUTS, SOURCES, variance_table

ARMS = ("attn1", "attn2")


def measured(bases=2, seeds=5, noises=3):
    """A file of draws, and its values by arm (B, A, K)."""
    rng = np.random.default_rng(0)
    values = {arm: 0.9 + 0.01 * rng.normal(size=(bases, seeds, noises)) for arm in ARMS}
    rows = [
        {"base": f"base{b}", "arm": arm, "seed": a, "noise": a + 10 * k,
         "success50": values[arm][b, a, k], "miou": 0.7 + 0.1 * a, "rules_success50": 0.8}
        for b in range(bases) for arm in ARMS for a in range(seeds) for k in range(noises)
    ]  # fmt: skip
    layouts = {what: {"success50": 0.002, "miou": 0.003} for what in (*ARMS, "attn2 − attn1")}
    return {"images": 500, "layouts": layouts, "rows": rows, "processor": "one"}, values


@pytest.fixture
def found(tmp_path):
    content, values = measured()
    files.write_json(tmp_path / "variance.json", content)
    return tmp_path / "variance.json", values


def test_a_row_tells_what_its_source_adds(found):
    path, values = found
    rows = {(r["what"], r["metric"], r["source"]): r for r in variance_table(path).records()}
    of = values | {"attn2 − attn1": values["attn2"] - values["attn1"]}
    for what, value in of.items():
        for source, part in components(value, SOURCES).items():
            row = rows[what, "success@0.5", source]
            assert row["deviation"] == f"{part.deviation:.4f}" and row["low"] == f"{part.low:.4f}"
            assert row["mean"].replace("−", "-") == f"{value.mean():.4f}"
    assert [rows["attn1", "success@0.5", s]["n"] for s in (*SOURCES, LAYOUTS)] == ["2", "10", "30", "500"]


def test_seeds_that_do_not_differ_in_noise_have_no_deviation_by_it(found):
    rows = {(r["what"], r["metric"], r["source"]): r for r in variance_table(found[0]).records()}
    assert rows["attn1", "mIoU", "noise"]["deviation"] == "0.0000"
    expected = np.std(0.7 + 0.1 * np.arange(5), ddof=1)
    assert float(rows["attn1", "mIoU", "training seed"]["deviation"]) == pytest.approx(expected, abs=1e-4)
    assert ("attn1", "success@0.5 by templates", LAYOUTS) not in rows  # their pictures' boxes are not kept


def test_a_run_has_the_table_where_the_file_is_given(found, results_root, config, tmp_path):
    stage.tables(config, results_root, tmp_path / "without")
    stage.tables(config, results_root, tmp_path / "with", variance=found[0])
    names = [set(files.read_json(tmp_path / where / "index.json")) for where in ("without", "with")]
    assert names[1] - names[0] == {"variance"}
