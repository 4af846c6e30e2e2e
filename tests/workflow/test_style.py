"""The house style, as far as tools can tell: formats, lints, types, sizes."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def check(*command, cwd=ROOT):
    run = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_ruff_finds_nothing():
    check(BIN / "ruff", "check", ".")


def test_python_is_formatted():
    check(BIN / "ruff", "format", "--check", ".")


def test_types_hold():
    check(BIN / "mypy")


def test_nothing_knows_what_it_must_not_know():
    """The contracts of pyproject.toml: the drawn world, the judge of a training, what is built on what."""
    check(BIN / "lint-imports", "--no-cache")


def test_snakefiles_are_formatted():
    check(BIN / "snakefmt", "--check", "Snakefile", "workflow")


def test_snakemake_lint_finds_nothing():
    check(BIN / "snakemake", "--lint")


@pytest.mark.parametrize(("pattern", "most"), [("workflow/**/*.smk", 150), ("src/**/*.py", 300)])
def test_files_are_short(pattern, most):
    lines = {path.relative_to(ROOT): len(path.read_text(encoding="utf-8").splitlines()) for path in ROOT.glob(pattern)}
    assert lines and {name: n for name, n in lines.items() if n > most} == {}


def test_nothing_under_src_imports_snakemake():
    lines = [line for path in ROOT.glob("src/**/*.py") for line in path.read_text(encoding="utf-8").splitlines()]
    assert [line for line in lines if re.match(r"\s*(import|from) snakemake", line)] == []
