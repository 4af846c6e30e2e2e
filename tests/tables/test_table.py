"""Formats of a table: the same numbers in CSV, LaTeX and JSON, special characters escaped."""

import csv
import io

import pytest

from gillnext.statistics import Estimate
from gillnext.tables.table import Column, Table, escape, integer, number, scientific, text, to_csv, to_json, to_tex


@pytest.fixture
def table() -> Table:
    columns = [Column("name", "name", left=True), Column("score", "score", interval=True), Column("n", "n")]
    rows = [
        [text("a_b & 50%, 树"), number(Estimate(-0.12345, 0.0049, 3)), integer(12345)],
        [text("plain"), number(0.5), text("–")],
    ]
    return Table("t", "A title", columns, rows, ["a note"])


def test_csv_has_numbers_that_programs_read(table):
    first, second = csv.DictReader(io.StringIO(to_csv(table)))
    assert (float(first["score"]), float(first["score_ci95"]), int(first["n"])) == (-0.123, 0.005, 12345)
    assert first["name"] == "a_b & 50%, 树" and second["score_ci95"] == ""


def test_tex_escapes_and_has_booktabs_rules(table):
    tex = to_tex(table)
    assert r"a\_b \& 50\%, 树 & $-$0.123 $\pm$ 0.005 & 12,345 \\" in tex
    assert [tex.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]


@pytest.mark.parametrize(
    ("raw", "escaped"),
    [
        ("100%", r"100\%"), ("a_b^c", r"a\_b\textasciicircum{}c"), ("$#{}", r"\$\#\{\}"),
        ("~\\", r"\textasciitilde{}\textbackslash{}"), ("≥ 0.9", r"$\ge$ 0.9"),
    ],
)  # fmt: skip
def test_every_special_character_of_tex_is_escaped(raw, escaped):
    assert escape(raw) == escaped


def test_json_carries_the_printed_text_and_the_number(table):
    found = to_json(table)
    assert found["rows"][0][1] == "−0.123 ± 0.005" and found["values"][0][1] == -0.12345
    assert found["columns"][0] == {"key": "name", "title": "name", "align": "left"}


@pytest.mark.parametrize(("value", "shown"), [(1.3e-7, "1.3e−7"), (0.0, "0"), (25000, "2.5e4"), (1e-10, "1.0e−10")])
def test_powers_of_ten(value, shown):
    assert scientific(value).text == shown


def test_no_negative_zero_is_printed():
    assert number(-0.0001).text == "0.000"
