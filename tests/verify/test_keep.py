"""A kept run: everything that the paper needs and no more, the same tables, refused where a file is another."""

import os
import shutil
from pathlib import Path

import pytest
from all_figures import draw_all

from gillnext.claims.stage import claims
from gillnext.cli import main
from gillnext.paper.stage import paper
from gillnext.record import jobs
from gillnext.runtime import files
from gillnext.runtime.errors import UserError
from gillnext.tables.cost import cost
from gillnext.tables.stage import tables
from gillnext.verify import kept
from gillnext.verify.keep import keep

ROOT = Path(__file__).parents[2]


def made(config, read: Path, out: Path) -> dict[str, bytes]:
    """Every file from the tables to the PDF, made in `out` from the results in `read`."""
    tables(config, read, out / "tables")
    kept_jobs = read / "jobs.parquet"
    cost(config, kept_jobs if kept_jobs.exists() else read / "benchmarks", read / "memory.json", out / "cost")
    claims(config, ROOT / "reference/claims.yaml", read, out / "claims")
    draw_all(config, read, out / "figures")
    paper(config, out, ROOT / "paper", out / "paper.pdf")
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}


def test_tables_figures_and_pdf_of_a_kept_run_are_the_runs_to_the_byte(results_root, config, kept_run, tmp_path):
    # Jobs whose times were lost would change the totals: the two adapters ran one after the other.
    for i, path in enumerate(sorted((results_root / "benchmarks").rglob("*.tsv"))):
        os.utime(path, (1000.0 + 100 * i, 1000.0 + 100 * i))
    keep(results_root, kept_run)
    shutil.copytree(kept_run, tmp_path / "checked out")  # with other times of modification
    ours, theirs = (made(config, read, tmp_path / name) for name, read in
                    (("run", results_root), ("kept", tmp_path / "checked out")))  # fmt: skip
    assert ours.keys() == theirs.keys() and "tables/main.csv" in ours and "cost/totals.csv" in ours
    assert [name for name in ours if ours[name] != theirs[name]] == []


def test_jobs_after_the_cost_table_are_left_out(results_root, tmp_path):
    for rule in ("paper", "html", "cost", "verify"):
        shutil.copytree(results_root / "benchmarks/world", results_root / "benchmarks" / rule)
    keep(results_root, tmp_path / "kept")
    assert {job.rule for job in jobs.read(tmp_path / "kept/jobs.parquet")} == {"adapter", "tables", "world"}


def test_a_kept_run_is_ten_files_at_most(kept_run):
    assert sorted(path.name for path in kept_run.iterdir()) == [
        "config.json", "curves.parquet", "jobs.parquet", "manifest.json", "memory.json", "pictures.zip",
        "protocols.json", "scores.parquet",
    ]  # fmt: skip


def test_the_manifest_has_every_file_and_the_score_files_provenance(results_root, kept_run):
    manifest = kept.check(kept_run)
    assert manifest["files"].keys() == {
        p.relative_to(kept_run).as_posix() for p in kept_run.rglob("*") if p.is_file() and p.name != "manifest.json"
    }
    assert manifest["tier"] == "demo" and manifest["provenance"] == [{}]
    score = "scores.parquet"
    assert (kept_run / score).read_bytes() == (results_root / score).read_bytes()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-1] + b" "), "SHA-256"),
        (lambda path: path.unlink(), "not here"),
    ],
)
@pytest.mark.parametrize("name", ["scores.parquet", "pictures.zip", "memory.json"])
def test_a_damaged_or_missing_file_is_refused_by_name(kept_run, damage, message, name):
    damage(kept_run / name)
    with pytest.raises(UserError, match=message) as error:
        kept.check(kept_run)
    assert name in str(error.value)


def test_a_folder_where_no_run_is_kept_is_told_with_those_that_are(kept_run, capsys, results_root):
    missing = kept_run.with_name("study")
    with pytest.raises(UserError, match="no run is kept here") as error:
        kept.settings(missing)
    assert "gillnext keep --results results/study" in str(error.value) and "kept here: demo" in str(error.value)
    options = ["--results", str(results_root), "--reference", str(missing), "--out", str(results_root / "verify")]
    assert main(["verify", *options]) == 2
    assert "no run is kept here" in capsys.readouterr().err


def test_an_unfinished_run_is_not_kept_and_leaves_the_old_one(results_root, kept_run):
    before = files.sha256(kept_run)
    (results_root / "curves.parquet").unlink()
    with pytest.raises(UserError, match=r"curves\.parquet"):
        keep(results_root, kept_run)
    assert files.sha256(kept_run) == before


def test_the_settings_of_a_kept_run_are_its_own(kept_run, config):
    assert kept.settings(kept_run).study == config.study
    assert kept.settings(kept_run, "reference/demo").from_reference == "reference/demo"


def test_every_run_that_the_repository_keeps_is_whole_and_can_be_read():
    """A change of the settings' names or of a kept file needs a run that is kept anew."""
    for manifest in ROOT.glob("reference/*/manifest.json"):
        of = "demo" if manifest.parent.name == "supplement" else manifest.parent.name
        assert kept.settings(manifest.parent).run.tier == of


def test_keep_says_how_much_it_kept(results_root, tmp_path, capsys):
    assert main(["keep", "--results", str(results_root), "--out", str(tmp_path / "k")]) == 0
    assert "files" in capsys.readouterr().out
    assert main(["keep", "--results", str(tmp_path), "--out", str(tmp_path / "k")]) == 2
