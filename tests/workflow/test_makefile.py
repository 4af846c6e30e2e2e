"""What `make` would run is there: files that recipes name, the parts of the GPU's ten minutes, their options."""

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args, get_type_hints

from gillnext.config.model import Run

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Makefile").read_text(encoding="utf-8")
MADE = ("results/", "build/")  # by a run, or by the recipe itself


def recipe(target: str) -> str:
    found = re.search(rf"^{target}:.*\n((?:\t.*\n|\s*\n)*)", TEXT, re.M)
    assert found, f"no target {target}"
    return found[1]


def test_every_file_that_a_recipe_names_is_there():
    named = set(re.findall(r"(?<![\w./-])(?:[\w.-]+/)+[\w.-]+\.(?:py|sh|yaml|tex)\b", TEXT))
    assert "benchmarks/gpu/run.py" in named and "paper/latex.tex" in named
    assert [path for path in sorted(named) if not path.startswith(MADE) and not (ROOT / path).exists()] == []


def test_the_gpus_ten_minutes_have_their_parts_and_options():
    sys.path.insert(0, str(ROOT / "benchmarks/gpu"))
    try:
        import run
    finally:
        sys.path.pop(0)
    assert [part for part in run.PARTS if not (ROOT / f"benchmarks/gpu/{part}.py").is_file()] == []
    (command,) = re.findall(r"run\.py.*", recipe("bench-gpu"))
    told = subprocess.run([sys.executable, run.__file__, "--help"], capture_output=True, text=True, check=True).stdout
    options = re.findall(r"--[a-z]+", command)
    assert set(options) == {"--models", "--out", "--toy"} and [name for name in options if name not in told] == []


def test_toy_size_is_asked_for_by_a_variable(tmp_path):
    """A dry run; `PACKAGE` empty, so that no environment is looked for."""

    def would_run(*variables: str) -> str:
        command = ["make", "-n", "PACKAGE=", *variables, "bench-gpu"]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert "--toy" in would_run("TOY=1") and "--toy" not in would_run()
    assert "--models reference/models" in would_run()


def test_every_target_with_a_line_of_help_is_phony():
    (phony,) = re.findall(r"^\.PHONY: (.*)$", TEXT, re.M)
    assert set(re.findall(r"^([a-z0-9-]+):.*## ", TEXT, re.M)) <= set(phony.split())


def test_what_was_measured_lies_in_no_tiers_folder():
    """`reference/TIER` is a kept run's, which `verify` reads and `keep` replaces."""
    tiers = get_args(get_type_hints(Run)["tier"])
    inputs = (ROOT / "workflow/rules/inputs.smk").read_text(encoding="utf-8")
    (folder,) = re.findall(r"reference/(\w+)/\{name\}\.json", inputs)
    assert "gpu" in tiers and folder not in tiers and (ROOT / "reference" / folder / "kolors.json").is_file()
