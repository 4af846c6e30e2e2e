"""What is told of the kept study: figures of docs/results.md stand in its tables, its paper answers in sentences."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pypdf
import pytest
from all_figures import draw_all

from gillnext.claims.stage import claims
from gillnext.config.load import settings_of
from gillnext.paper.stage import paper
from gillnext.tables.cost import cost
from gillnext.tables.stage import tables

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "reference" / "study"
GPU = [ROOT / f"reference/measured/{name}.json" for name in ("kolors", "language")]
MARGIN = 50.0  # points at the foot of a page that hold its number alone


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Tables of the kept study, and the words of its paper."""
    out, config = tmp_path_factory.mktemp("study"), settings_of(KEPT)
    tables(config, KEPT, out / "tables", gpu=GPU)
    cost(config, KEPT / "jobs.parquet", KEPT / "memory.json", out / "cost")
    claims(config, ROOT / "reference/claims.yaml", KEPT, out / "claims", GPU)
    draw_all(config, KEPT, out / "figures")
    pdf = paper(config, out, ROOT / "paper", out / "paper" / "paper.pdf")
    cells = [
        cell
        for path in sorted((out / "tables").glob("*.json"))
        if isinstance(table := json.loads(path.read_text(encoding="utf-8")), dict) and "rows" in table
        for row in table["rows"]
        for cell in row
    ]
    numbers = json.loads((out / "tables/numbers.json").read_text(encoding="utf-8"))
    pages = pypdf.PdfReader(pdf).pages
    words = " ".join(" ".join(page.extract_text() for page in pages).split())
    return SimpleNamespace(cells={*cells, *numbers.values()}, numbers=numbers, words=words, pages=pages)


def test_every_figure_that_is_told_of_the_study_is_one_of_its_tables(study):
    text = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    (section,) = re.findall(r"## What the study shows\n(.*)", text, re.S)
    section = " ".join(section.split())
    with_interval = re.findall(r"[+−]?\d+\.\d+ ± \d+\.\d+", section)
    alone = re.findall(r"(?<![\d.±] )(?<![\d.])\d\.\d{3,}(?! ±)", re.sub(r"[+−]?\d+\.\d+ ± \d+\.\d+", "", section))
    assert len(with_interval) > 5 and len(alone) > 3
    assert [figure for figure in with_interval if figure not in study.cells] == []
    means = {part for cell in study.cells for part in re.split(r" ± | to |, | ", cell)}
    assert [figure for figure in alone if figure not in means] == []


def test_the_paper_has_six_to_ten_pages_and_nothing_runs_over_the_end_of_one(study):
    """What a float has no room for Typst prints into the margin, line over line."""
    assert 6 <= len(study.pages) <= 10
    for page in study.pages:
        in_margin = []

        def visit(text, current, matrix, *_, into=in_margin):
            if text.strip() and current[3] * matrix[5] + current[5] < MARGIN:
                into.append(text.strip())

        page.extract_text(visitor_text=visit)
        assert in_margin == [str(page.page_number + 1)]


def test_the_papers_answers_are_whole_sentences(study):
    biasless, _ = study.numbers["study.biasless_arms"].split(", ")
    steps = study.numbers[f"onset.{biasless}.steps"]
    assert study.numbers[f"onset.{biasless}.onset"] == f"not within {steps} steps"
    assert f"nothing follows its box within {steps} steps, at either site" in study.words
    assert "not within" not in study.words.split("1 The claims first")[0]
