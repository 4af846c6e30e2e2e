"""The supplement tells what was scored: every number of a table is the record's, and the PDF quotes them."""

import dataclasses
import json
import sys
import zipfile
from pathlib import Path

import polars as pl
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from fake_conversations import pictures, scores

from gillnext.config.load import load
from gillnext.config.supplement import Supplement
from gillnext.record import jobs
from gillnext.runtime.errors import UserError
from gillnext.supplement import gill, gill_figures, illustrate
from gillnext.supplement.illustrate import Shown
from gillnext.supplement.stage import supplement

ROOT = Path(__file__).parents[2]


def of_gill():
    """The demo's settings with one part of the supplement."""
    config = load(ROOT / "config.yaml")
    return dataclasses.replace(config, supplement=Supplement(parts=["gill"]))


@pytest.fixture
def record(tmp_path):
    """A record as a finished run has it, costs among it."""
    root = tmp_path / "a record"
    test, drawn = pictures(tmp_path / "made")
    root.mkdir()
    found = scores()
    for name, other in found.pop("variants").items():
        (root / f"gill-{name}.json").write_text(json.dumps(other), encoding="utf-8")
    (root / "gill.json").write_text(json.dumps(found), encoding="utf-8")
    illustrate.write(test, drawn, root / "gill.zip")
    folder = root / "benchmarks/gill"
    folder.mkdir(parents=True)
    head = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"
    (folder / "all.tsv").write_text(head + "12.5\t0:00:12\t300\t1\t1\t1\t0\t0\t90\t11.0\n", encoding="utf-8")
    return root


def cells(table, key):
    """A column of a table, as text."""
    place = [column.key for column in table.columns].index(key)
    return [row[place].text for row in table.rows]


def test_every_way_has_its_own_number():
    found = {table.name: table for table in gill.tables(scores())}
    ways = [0.5 + 0.02 * i for i in range(len(gill.WAYS))]
    assert cells(found["generation"], "recall") == 2 * [f"{value:.3f}" for value in ways]
    by_way = dict(zip(cells(found["placement"], "way"), cells(found["placement"], "success50"), strict=True))
    assert by_way["next"] == f"{0.3 + 0.02 * list(gill.WAYS).index('next'):.3f}"
    assert cells(found["decision"], "f1") == ["0.830", "0.810", "0.600", "0.800", "0.700", "0.950", "0.900"]
    assert cells(found["retrieval"], "asked")[:3] == ["caption", "last 1 turn", "last 2 turns"]


def test_rows_stand_in_the_order_of_the_ways_however_the_file_sorts_them():
    shuffled = json.loads(json.dumps(scores(), sort_keys=True))
    ours, theirs = ([table.rows for table in gill.tables(record)] for record in (scores(), shuffled))
    assert ours == theirs


def test_a_difference_is_told_with_its_sign_and_ends():
    (table,) = [table for table in gill.tables(scores()) if table.name == "contrasts"]
    assert cells(table, "recall") == ["+0.200 (0.100 to 0.300)"] * 2


def test_further_trainings_stand_beside_the_first_and_only_like_ones_are_drawn_by_tokens():
    table = {table.name: table for table in gill.tables(scores())}["trainings"]
    assert cells(table, "name") == ["GILL", "images-4", "images-2", "denoising"]
    assert cells(table, "images") == ["8", "4", "2", "8"] and cells(table, "r1") == ["0.200", "0.040", "0.020", "0.080"]
    figure, _ = gill_figures.tokens(scores())
    lines = {line.get_label(): line for axes in figure.axes for line in axes.get_lines()}
    assert lines["R@1"].get_xydata().tolist() == [[2, 0.02], [4, 0.04], [8, 0.2]]
    alone = {key: value for key, value in scores().items() if key != "variants"}
    assert gill_figures.tokens(alone) is None and "trainings" not in [table.name for table in gill.tables(alone)]


def test_without_a_decision_there_is_no_table_of_it():
    without = {key: value for key, value in scores().items() if key != "decision"}
    assert "decision" not in [table.name for table in gill.tables(without)]
    assert not [key for key in gill.numbers(without) if "decision" in key]


def test_the_first_conversations_are_shown_and_none_is_picked(record):
    shown = Shown(record / "gill.zip")
    assert [row.id for row in shown.rows] == [f"story-test-{i:05d}" for i in range(illustrate.COUNT)]
    assert (shown.image(shown.rows[2].turns[3].picture) == 43).all()
    image, layout = shown.drawn("next", shown.rows[1])
    assert (image == 100 + 10 * illustrate.WAYS.index("next") + 1).all() and layout.names == ("猫",)


def test_an_archive_of_equal_pictures_is_the_same_bytes(record, tmp_path):
    test, drawn = pictures(tmp_path / "again")
    illustrate.write(test, drawn, tmp_path / "gill.zip")
    assert (tmp_path / "gill.zip").read_bytes() == (record / "gill.zip").read_bytes()


def test_a_missing_picture_is_told(tmp_path):
    test, drawn = pictures(tmp_path / "made")
    (drawn / "next/00001.png").unlink()
    with pytest.raises(UserError, match="no such picture"):
        illustrate.write(test, drawn, tmp_path / "gill.zip")
    assert not (tmp_path / "gill.zip").exists()


def test_the_pdf_is_written_with_tables_and_figures_and_twice_the_same(record, tmp_path):
    config = of_gill()
    for name in ("one", "two"):
        supplement(config, record, ROOT / "paper", tmp_path / name / "supplement.pdf")
    one, two = ((tmp_path / name / "supplement.pdf").read_bytes() for name in ("one", "two"))
    assert one.startswith(b"%PDF") and one == two
    table = pl.read_csv(tmp_path / "one/tables/rules.csv")
    assert table["rule"].to_list() == ["gill"] and table["seconds"].to_list() == [12.5]
    assert {path.stem for path in (tmp_path / "one/figures").rglob("*.svg")} == {"stories", "context", "tokens"}


def test_a_kept_record_tells_its_costs_from_one_file(record, tmp_path):
    jobs.write(jobs.read(record / "benchmarks"), record / jobs.NAME)
    (record / "benchmarks/gill/all.tsv").unlink()
    supplement(of_gill(), record, ROOT / "paper", tmp_path / "out/supplement.pdf")
    assert "gill" in (tmp_path / "out/tables/rules.csv").read_text(encoding="utf-8")


def test_what_a_record_lacks_is_named_with_its_command(record, tmp_path):
    (record / "gill.json").unlink()
    with pytest.raises(UserError, match="gillnext converse"):
        supplement(of_gill(), record, ROOT / "paper", tmp_path / "out/supplement.pdf")


def test_the_archive_holds_pictures_and_json_alone(record):
    names = zipfile.ZipFile(record / "gill.zip").namelist()
    assert {name.rsplit(".", 1)[1] for name in names} == {"png", "json"}
