"""`gillnext compare`: every number of two runs' tables against a brute-force walk; words, rows and tables told."""

import json
import math
import random
import shutil
from pathlib import Path

import pytest

from gillnext.claims.stage import claims
from gillnext.cli import main
from gillnext.runtime import files
from gillnext.runtime.errors import UserError
from gillnext.statistics import Estimate
from gillnext.tables.compare import compare, difference, numbers_in
from gillnext.tables.stage import tables
from gillnext.tables.table import Column, Table, number, text, write

CLAIMS = Path(__file__).parents[2] / "reference/claims.yaml"


def run(root, rng, *, rows=7, shift=0.0):
    """A results folder with two tables and a claim; `shift` moves one value."""
    values = [[rng.uniform(-1, 40) for _ in range(3)] for _ in range(rows)]
    values[2][1] += shift
    columns = [Column("name", "name", left=True), *(Column(k, k.upper()) for k in "abc"), Column("range", "range")]
    cells = [[text(f"row {i}"), *map(number, v), text(f"{v[0]:.3f} to {v[2]:.3f}")] for i, v in enumerate(values)]
    write(root / "tables", [Table("main", "Main", columns, cells), Table("few", "Few", columns[:2], [cells[0][:2]])])
    (root / "claims").mkdir()
    claims = {"claims": [{"id": "C1", "measured": "KID −0.031; AP +2.5", "verdict": "supported"}]}
    (root / "claims/claims.json").write_text(json.dumps(claims))
    return values


@pytest.fixture
def runs(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    run(a, random.Random(1))
    shutil.copytree(a, b)
    return a, b


def edit(path, change):
    table = json.loads(path.read_text())
    change(table)
    path.write_text(json.dumps(table))


def test_a_run_is_the_same_as_itself(runs, capsys):
    assert main(["compare", *map(str, runs)]) == 0
    # 7 rows of 3 numbers, their name's number and two in a text; the small table; the claim's two
    assert f"{7 * (3 + 1 + 2) + 2 + 2:>4} values, largest difference 0.0e+00" in capsys.readouterr().out


def test_the_largest_difference_is_the_brute_force_one(tmp_path):
    first = run(tmp_path / "a", random.Random(1))
    second = run(tmp_path / "b", random.Random(2))
    pairs = [(round(x, 6), round(y, 6)) for r, s in zip(first, second, strict=True) for x, y in zip(r, s, strict=True)]
    expected = max(abs(x - y) / max(1, abs(x), abs(y)) for x, y in pairs)
    found = next(c for c in compare(tmp_path / "a", tmp_path / "b") if c.table == "tables/main.json")
    assert found.largest == pytest.approx(expected, rel=1e-3)  # texts are rounded to three decimals


@pytest.mark.parametrize(("shift", "status"), [(5e-5, 0), (3e-4, 2)])
def test_a_value_beyond_the_tolerance_fails_and_is_named(tmp_path, capsys, shift, status):
    values = run(tmp_path / "a", random.Random(3))
    values = run(tmp_path / "b", random.Random(3), shift=shift * max(1, abs(values[2][1])))
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == status
    if status:
        assert "tables/main.json: row 2, B" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("tables/main.json", lambda t: t["rows"].pop() and t["values"].pop(), "other rows or columns"),
        ("tables/main.json", lambda t: t["columns"][1].update(title="Z"), "other rows or columns"),
        ("tables/main.json", lambda t: t["rows"][1].__setitem__(4, "not begun"), "row 1, range"),
        ("claims/claims.json", lambda t: t["claims"][0].update(verdict="contradicted"), "C1, verdict"),
    ],
)
def test_other_rows_columns_or_words_are_told(runs, capsys, file, change, message):
    edit(runs[1] / file, change)
    assert main(["compare", *map(str, runs)]) == 2
    assert message in capsys.readouterr().err


def estimated(root, half):
    columns = [Column("name", "name", left=True), Column("kid", "KID", interval=True)]
    write(root / "tables", [Table("main", "Main", columns, [[text("attn2"), number(Estimate(0.9, half, 3))]])])
    return root


@pytest.mark.parametrize(("half", "status"), [(0.25, 0), (0.251, 2), (None, 2)])
def test_an_interval_that_is_another_or_is_gone_is_told(tmp_path, half, status, capsys):
    """The same mean in both runs."""
    a, b = estimated(tmp_path / "a", 0.25), estimated(tmp_path / "b", half)
    assert main(["compare", str(a), str(b)]) == status
    assert ("attn2, KID" in capsys.readouterr().err) == bool(status)


def test_a_missing_table_or_folder_is_told(runs):
    (runs[1] / "tables/few.json").unlink()
    for a, b in (runs, runs[::-1]):
        with pytest.raises(UserError, match=r"b: no tables/few\.json"):
            compare(a, b)
    with pytest.raises(UserError, match="no result tables"):
        compare(runs[0] / "tables", runs[1])


def test_numbers_and_the_words_around_them():
    assert numbers_in("KID −0.031; n 1,024, 2.9e−8") == (["KID ", "; n ", ", ", ""], [-0.031, 1024.0, 2.9e-8])
    assert difference(math.nan, math.nan) == difference(math.inf, math.inf) == 0
    assert difference(math.nan, 1.0) == difference(1.0, math.inf) == math.inf


def test_what_the_stages_write_can_be_compared(config, results_root, tmp_path):
    """Two makings of one run's tables and claims: nothing differs, and every table of its index is among them."""
    for name in ("a", "b"):
        tables(config, results_root, tmp_path / name / "tables")
        claims(config, CLAIMS, results_root, tmp_path / name / "claims")
    found = compare(tmp_path / "a", tmp_path / "b")
    listed = files.read_json(tmp_path / "a/tables/index.json")
    assert {c.table for c in found} == {f"tables/{name}.json" for name in listed} | {"claims/claims.json"}
    assert sum(c.values for c in found) > 50 and all(c.differing == 0 for c in found)
