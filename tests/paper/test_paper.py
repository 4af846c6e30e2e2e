"""The PDF: built under a path with spaces; holds the files' numbers and Chinese; a missing number stops it."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pypdf
import pytest
from all_figures import draw_all

from gillnext.claims.stage import claims
from gillnext.paper.stage import paper
from gillnext.runtime.errors import UserError
from gillnext.tables.cost import cost
from gillnext.tables.stage import tables

ROOT = Path(__file__).parents[2]
GPU = [ROOT / f"reference/measured/{name}.json" for name in ("kolors", "language")]


@pytest.fixture
def run(results_root, config) -> Path:
    """A results folder, with spaces in its name, in which everything before the paper is done."""
    tables(config, results_root, results_root / "tables", gpu=GPU)
    cost(config, results_root / "benchmarks", results_root / "memory.json", results_root / "cost")
    claims(config, ROOT / "reference/claims.yaml", results_root, results_root / "claims", GPU)
    draw_all(config, results_root, results_root / "figures")
    return results_root


def words(pdf: Path) -> str:
    return " ".join(" ".join(page.extract_text() for page in pypdf.PdfReader(pdf).pages).split())


def test_the_pdf_says_what_the_files_say(run, config):
    assert " " in str(run)
    out = paper(config, run, ROOT / "paper", run / "paper" / "paper.pdf")
    text = words(out)
    numbers = json.loads((run / "tables/numbers.json").read_text(encoding="utf-8"))
    for key in ("reference.success50", "base.success50", "ceiling.real.success50", "arm.attn1.kid"):
        assert numbers[key] in text, key
    for claim in json.loads((run / "claims/claims.json").read_text(encoding="utf-8"))["claims"]:
        assert claim["verdict"].split()[0] in text
    assert "左边是一棵树" in text
    assert str(run) not in text
    assert [p.name for p in out.parent.iterdir()] == ["paper.pdf"]


@pytest.mark.parametrize(("medium", "other"), [("photograph", "cut-out drawings"), ("drawing", "cut-out photographs")])
def test_a_paper_on_cut_outs_names_their_authors_and_nothing_of_the_drawn_world(run, config, medium, other):
    path = run / "tables/numbers.json"
    numbers = json.loads(path.read_text(encoding="utf-8"))
    told = {"all": "128", "kinds": "50", "heldout": "53", "by": "Some Contributors, GPL-2: 128", "pixels": "64"}
    told["medium"] = medium
    numbers |= {"study.scenes": "photos"} | {f"cutouts.{key}": value for key, value in told.items()}
    path.write_text(json.dumps(numbers), encoding="utf-8")
    text = words(paper(config, run, ROOT / "paper", run / "paper" / "paper.pdf"))
    assert "Attribution. Authors and licences of the cut-outs" in text and "Some Contributors, GPL-2: 128" in text
    assert f"Mini-Wukong of cut-out {medium}s" in text and other not in text
    assert "50 kinds of objects" in text and "twelve kinds" not in text and "drawings’ own templates" not in text


def test_the_same_results_give_the_same_pdf(run, config, tmp_path):
    one, two = (paper(config, run, ROOT / "paper", tmp_path / n / "paper.pdf") for n in ("a", "b"))
    assert one.read_bytes() == two.read_bytes()


def test_a_missing_number_fails_the_build_by_name(run, config):
    path = run / "tables/numbers.json"
    numbers = json.loads(path.read_text(encoding="utf-8"))
    del numbers["reference.miou"]
    path.write_text(json.dumps(numbers), encoding="utf-8")
    with pytest.raises(UserError, match=r"reference\.miou"):
        paper(config, run, ROOT / "paper", run / "paper.pdf")
    assert not (run / "paper.pdf").exists() and not (run / "paper.pdf.work").exists()


def test_a_missing_figure_or_folder_is_named(run, config):
    (run / "figures/following/caption.txt").unlink()
    with pytest.raises(UserError, match="following"):
        paper(config, run, ROOT / "paper", run / "paper.pdf")
    shutil.rmtree(run / "cost")
    with pytest.raises(UserError, match="gillnext cost"):
        paper(config, run, ROOT / "paper", run / "paper.pdf")


def test_a_broken_source_is_told_with_its_place(run, config, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(ROOT / "paper", source)
    (source / "paper.typ").write_text("#unknown-function()", encoding="utf-8")
    with pytest.raises(UserError, match="unknown"):
        paper(config, run, source, run / "paper.pdf")


def test_what_the_base_cannot_do_by_its_card_is_said(run, config):
    numbers = json.loads((run / "tables/numbers.json").read_text(encoding="utf-8"))
    told = numbers | {"models.base.limitation": "it draws squares alone"}
    (run / "tables/numbers.json").write_text(json.dumps(told), encoding="utf-8")
    said = words(paper(config, run, ROOT / "paper", run / "paper.pdf"))
    assert "Of the base its own card says: it draws squares alone." in said


def test_every_key_that_the_text_quotes_is_made_by_the_tables(run):
    text = (ROOT / "paper/paper.typ").read_text(encoding="utf-8")
    numbers = json.loads((run / "tables/numbers.json").read_text(encoding="utf-8"))
    assert set(re.findall(r'n\("([\w.]+)"\)', text)) <= set(numbers)


def test_the_latex_skeleton_quotes_numbers_that_there_are(run):
    """`numbers.tex` defines each by its key."""
    source = (ROOT / "paper/latex.tex").read_text(encoding="utf-8")
    known = json.loads((run / "tables/numbers.json").read_text(encoding="utf-8"))
    quoted = re.findall(r"\\num\{([^}]+)\}", source)
    assert len(quoted) > 5 and set(quoted) <= set(known)


@pytest.mark.skipif(not shutil.which("lualatex"), reason="no lualatex here (Debian's TeX Live has it)")
def test_the_latex_skeleton_compiles(run, tmp_path):
    for name in ("tables", "figures"):
        shutil.copytree(run / name, tmp_path / name)
    shutil.copy(ROOT / "paper/latex.tex", tmp_path)
    command = ["lualatex", "-interaction=nonstopmode", "-halt-on-error", "latex.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:]
    numbers = json.loads((run / "tables/numbers.json").read_text(encoding="utf-8"))
    assert numbers["reference.success50"] in words(tmp_path / "latex.pdf")
    assert "Missing character" not in (tmp_path / "latex.log").read_text(encoding="utf-8", errors="replace")
