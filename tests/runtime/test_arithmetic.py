"""Which arithmetic a process computes in, and that it is begun before anything that computes is loaded."""

import os
import subprocess
import sys

import pytest

from gillnext.runtime import arithmetic, machine
from gillnext.runtime.errors import UserError

avx2 = pytest.mark.skipif(not machine.has_avx2(), reason="portable arithmetic needs AVX2")


@pytest.fixture
def free(monkeypatch):
    """An environment in which no arithmetic was begun."""
    for name in (arithmetic.VARIABLE, *arithmetic.PORTABLE):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("setting", "device", "there", "variable", "expected"),
    [
        ("auto", "cpu", True, None, "portable"),
        ("auto", "cpu", False, None, "fast"),
        ("auto", "cuda", True, None, "fast"),
        ("auto", "cuda:1", True, "portable", "fast"),
        ("auto", "cpu", True, "fast", "fast"),
        ("auto", "cpu", False, "portable", "fast"),
        ("fast", "cpu", True, "portable", "fast"),
        ("portable", "cpu", True, "fast", "portable"),
    ],
)
def test_what_a_setting_means(free, setting, device, there, variable, expected):
    free.setattr(machine, "has_avx2", lambda: there)
    if variable:
        free.setenv(arithmetic.VARIABLE, variable)
    assert arithmetic.resolve(setting, device) == expected


@pytest.mark.parametrize(("device", "there"), [("cuda", True), ("cpu", False)])
def test_portable_is_refused_where_it_cannot_be(free, device, there):
    free.setattr(machine, "has_avx2", lambda: there)
    with pytest.raises(UserError, match="remedy"):
        arithmetic.resolve("portable", device)


def test_an_unknown_variable_is_refused(free):
    free.setenv(arithmetic.VARIABLE, "quick")
    with pytest.raises(UserError, match="quick"):
        arithmetic.resolve()


def python(code, **environment):
    """What a Python of its own prints; without this process's arithmetic."""
    without = {k: v for k, v in os.environ.items() if k not in (arithmetic.VARIABLE, *arithmetic.PORTABLE)}
    command = [sys.executable, "-W", "ignore", "-c", code]
    return subprocess.run(command, env=without | environment, capture_output=True, text=True)


BEGIN = "from gillnext.runtime import arithmetic; print(arithmetic.begin({!r}));"


@avx2
def test_a_process_that_has_begun_loads_kernels_for_avx2():
    shown = python(BEGIN.format("portable") + "import torch; print(torch.backends.cpu.get_cpu_capability())")
    assert shown.stdout.split() == ["portable", "AVX2"], shown.stderr


@avx2
def test_fast_takes_the_variables_back():
    begun = arithmetic.variables("portable")
    shown = python(
        BEGIN.format("fast") + "import os; print(sorted(os.environ.keys() & arithmetic.PORTABLE.keys()))", **begun
    )
    assert shown.stdout.split() == ["fast", "[]"], shown.stderr


@avx2
def test_a_library_that_was_loaded_before_is_told_with_the_remedy():
    shown = python("import numpy;" + BEGIN.format("portable"))
    assert "numpy was loaded before in another arithmetic" in shown.stderr
    assert "GILLNEXT_ARITHMETIC=portable" in shown.stderr


@avx2
def test_training_refuses_a_torch_that_was_loaded_before():
    code = (
        "import os, torch; from gillnext.runtime import arithmetic, training;"
        "torch.ones(2).exp(); os.environ.update(arithmetic.variables('portable')); training.setup(1)"
    )
    shown = python(code, ATEN_CPU_CAPABILITY="default")
    assert "torch was loaded with" in shown.stderr
    assert "remedy" in shown.stderr


@avx2
def test_a_stage_begins_the_arithmetic_of_its_settings(tmp_path):
    (tmp_path / "fast.yaml").write_text("run: { arithmetic: fast }\n")
    code = "from gillnext import cli; cli.begin('draw', {!r}); print(cli.arithmetic.current())"
    for argv, expected in (
        (["--config", str(tmp_path / "fast.yaml"), "--out", "x"], "fast"),
        (["--out", "x"], "portable"),
    ):
        assert python(code.format(argv)).stdout.split() == [expected]
