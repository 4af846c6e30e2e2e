"""The paper from a kept run by the same rules, without the rest of the graph; verification where a run is kept."""

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import fake_results

from gillnext.config.load import from_dict
from gillnext.paper.figure import NAMES
from gillnext.record import gather
from gillnext.verify.keep import keep

FROM = ["--config", "from_reference=reference/demo"]
TARGET = ["--cores", "2", *FROM, "--", "results/demo-reference/paper/paper.pdf"]
JOBS = dict.fromkeys(["tables", "claims", "cost", "paper", "html", "all"], 1) | {"figure": len(NAMES)}


@pytest.fixture
def reference(checkout, tmp_path):
    """A made-up run, kept in the checkout."""
    root = fake_results.build(tmp_path / "made up")
    shutil.copytree(root / "scores/relations/attn2", root / "scores/relations/base")
    gather.gather(from_dict(fake_results.SETTINGS), root)
    keep(root, checkout.root / "reference/demo")
    return checkout.root / "reference/demo"


def test_the_rules_from_the_tables_on_are_all_that_run(checkout, reference):
    jobs, output = checkout.jobs(*FROM, "--printshellcmds")
    assert jobs == JOBS
    assert "--results reference/demo --out results/demo-reference/tables" in output
    assert "results/demo/" not in output


def test_settings_are_the_kept_runs(checkout, reference):
    """Arms that config.yaml names by now and the kept run does not have are not asked for."""
    checkout.edit("config.yaml", "subset: [base, attn1, attn2]", "subset: []")
    assert checkout.jobs(*FROM)[0] == JOBS


def test_a_second_call_does_nothing_and_the_kept_run_stays_as_it_is(checkout, reference):
    before = {path: path.read_bytes() for path in reference.rglob("*") if path.is_file()}
    status, output = checkout.snakemake(*TARGET)
    assert status == 0, output
    assert checkout.ran() == ["claims", "cost", *["figure"] * len(NAMES), "paper", "tables"]
    assert [path.name for path in (checkout.root / "results").iterdir()] == ["demo-reference"]
    assert "Nothing to be done" in checkout.snakemake(*TARGET)[1]
    assert before == {path: path.read_bytes() for path in reference.rglob("*") if path.is_file()}


def test_a_damaged_file_stops_it_by_name(checkout, reference):
    with open(reference / "scores.parquet", "ab") as scores:
        scores.write(b" ")
    for options in (FROM, []):  # the paper from it, and a run that would be compared with it
        status, output = checkout.snakemake("-n", *options)
        assert (
            status != 0
            and "reference/demo/scores.parquet" in output
            and "SHA-256" in output
            and "Traceback" not in output
        )


def test_where_no_run_is_kept_the_remedy_is_told(checkout):
    status, output = checkout.snakemake("-n", *FROM)
    assert status != 0 and "no run is kept here" in output and "gillnext keep" in output


def test_a_run_is_verified_where_one_of_its_tier_is_kept_and_reads_the_tiers_table_of_whole_runs(
    checkout, reference, unchanged
):
    option = "--runs reference/runs/demo.csv"
    jobs, output = checkout.jobs("--printshellcmds")
    assert jobs["verify"] == 1 and "results/demo/verify" in output and option not in output
    assert "verify" not in unchanged.jobs()[0]
    (checkout.root / "reference/runs").mkdir()
    (checkout.root / "reference/runs/demo.csv").write_text("run\n")
    output = checkout.jobs("--printshellcmds")[1]
    assert f"--out results/demo/tables {option}" in output and f"--out results/demo/verify {option}" in output
    assert f"--out results/demo-reference/tables {option}" in checkout.jobs(*FROM, "--printshellcmds")[1]
    jobs, output = checkout.jobs("--configfile", "config/smoke.yaml", "--printshellcmds")
    assert "verify" not in jobs and option not in output
