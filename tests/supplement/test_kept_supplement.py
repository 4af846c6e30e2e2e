"""A supplement is hashed over its values, stage by stage, and kept in a few files that its PDF is made of again."""

import dataclasses
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

sys.path.insert(0, str(Path(__file__).parent))
from fake_conversations import pictures, scores

from gillnext.cli import main
from gillnext.config.load import load, settings_of
from gillnext.config.supplement import Supplement
from gillnext.runtime import manifest
from gillnext.supplement import illustrate
from gillnext.supplement.illustrate import Shown
from gillnext.supplement.stage import supplement
from gillnext.verify.keep import keep_supplement

ROOT = Path(__file__).parents[2]
MODELS = ("language", "planner", "gill", "index", "decision")


def of_gill():
    """The demo's settings with one part of the supplement."""
    config = load(ROOT / "config.yaml")
    return dataclasses.replace(config, supplement=Supplement(parts=["gill"]))


@pytest.fixture
def run(tmp_path):
    """A results folder with a supplement, every stage's output among it."""
    root = tmp_path / "results"
    place = root / "supplement"
    test, drawn = pictures(tmp_path / "made")
    shutil.copytree(test.parent, place / "conversations")
    shutil.copytree(drawn, place / "pictures")
    for name in MODELS:
        (place / name).mkdir()
        save_file({"weight": np.arange(4.0)}, place / name / "model.safetensors")
    (place / "gill.json").write_text(json.dumps(scores()), encoding="utf-8")
    (root / "config.json").write_text(json.dumps(dataclasses.asdict(of_gill())), encoding="utf-8")
    illustrate.write(test, drawn, place / "gill.zip")
    (place / "benchmarks/gill").mkdir(parents=True)
    head = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"
    line = "12.5\t0:00:12\t300\t1\t1\t1\t0\t0\t90\t11.0\n"
    (place / "benchmarks/gill/all.tsv").write_text(head + line, encoding="utf-8")
    return root


def hashed(root, *more):
    return main(["hashes", "--supplement", "--results", str(root), *map(str, more)])


def test_a_stage_whose_values_differ_is_named(run, tmp_path, capsys):
    kept = tmp_path / "kept.json"
    assert hashed(run, "--out", kept) == 0
    assert [stage["stage"] for stage in json.loads(kept.read_text())["stages"]][:4] == [
        "conversations", "language", "conversation_planner", "gill",
    ]  # fmt: skip
    assert hashed(run, "--against", kept) == 0
    save_file({"weight": np.arange(4.0) + 1e-6}, run / "supplement/gill/model.safetensors")
    capsys.readouterr()
    with pytest.raises(SystemExit):
        hashed(run, "--against", kept)
    assert "gill" in capsys.readouterr().out


def test_a_kept_supplement_makes_the_same_pdf(run, tmp_path):
    assert hashed(run, "--out", run / "supplement/hashes.json") == 0
    keep_supplement(run, tmp_path / "kept")
    shutil.copytree(tmp_path / "kept", tmp_path / "checked out")
    manifest.check(tmp_path / "checked out")
    config = of_gill()
    supplement(config, run / "supplement", ROOT / "paper", tmp_path / "one/supplement.pdf")
    supplement(config, tmp_path / "checked out", ROOT / "paper", tmp_path / "two/supplement.pdf")
    assert (tmp_path / "one/supplement.pdf").read_bytes() == (tmp_path / "two/supplement.pdf").read_bytes()


def test_an_unfinished_supplement_is_not_kept(run, tmp_path, capsys):
    status = main(["keep", "--supplement", "--results", str(run), "--out", str(tmp_path / "kept")])
    assert status == 2 and "make supplement" in capsys.readouterr().err and not (tmp_path / "kept").exists()


def test_the_kept_supplement_is_whole_and_its_pdf_is_made_of_it(tmp_path):
    """Its files are those that were kept, of today's settings of GILL; each number that the text quotes is there."""
    kept = ROOT / "reference/supplement"
    manifest.check(kept)
    config = settings_of(kept)
    supplement(config, kept, ROOT / "paper", tmp_path / "supplement.pdf")
    assert (tmp_path / "supplement.pdf").read_bytes().startswith(b"%PDF")
    assert config.gill == load(ROOT / "config.yaml").gill
    shown = Shown(kept / "gill.zip")
    assert [row.kind for row in shown.rows] == ["story"] * illustrate.COUNT + ["dialogue"] * illustrate.COUNT
