"""What the machine says of itself, against other witnesses."""

import json
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gillnext.runtime import machine

X86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="CPUID is x86-64's")
SOURCE = Path(machine.__file__).parents[2]
ASK = "import json; from gillnext.runtime import machine as m; print(json.dumps([m.describe(), m.has_avx2()]))"


@pytest.fixture
def fresh(monkeypatch):
    """Nothing remembered before or after, and no emulator named."""
    monkeypatch.delenv(machine.EMULATED, raising=False)
    remembering = machine.cpuinfo, machine.leaf
    for function in remembering:
        function.cache_clear()
    yield
    for function in remembering:
        function.cache_clear()


@pytest.fixture
def cpu(fresh, monkeypatch, tmp_path):
    """Puts a /proc/cpuinfo of one's own in place, on a machine whose C library does not tell."""

    def tell(lines):
        path = tmp_path / "cpuinfo"
        path.write_text(2 * ("\n".join(f"{key}\t: {value}" for key, value in lines.items()) + "\n\n"))
        monkeypatch.setattr(machine, "CPUINFO", path)
        monkeypatch.setattr(machine, "leaf", lambda index: None)
        monkeypatch.setattr(platform, "machine", lambda: "x86_64" if "flags" in lines else "aarch64")

    return tell


def emulated(cpu):
    """What it says under qemu's user emulation of a processor."""
    command = ["qemu-x86_64", "-cpu", cpu, sys.executable, "-c", ASK]
    environment = {"PYTHONPATH": str(SOURCE), "PATH": "/usr/bin:/bin"}
    return json.loads(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


@X86
def test_instruction_sets_agree_with_numpy(fresh):
    import numpy as np

    seen = np._core._multiarray_umath.__cpu_features__
    names = {"AVX": "avx", "F16C": "f16c", "FMA3": "fma", "AVX2": "avx2", "BMI2": "bmi2", "AVX512F": "avx512f"}
    names |= {"SSE42": "sse4_2", "AVX512BW": "avx512bw", "AVX512VNNI": "avx512_vnni"}
    names = {theirs: ours for theirs, ours in names.items() if theirs in seen}
    assert len(names) >= 6
    assert {ours: seen[theirs] for theirs, ours in names.items()} == {v: v in machine.isa() for v in names.values()}


@X86
def test_the_processor_says_of_itself_what_the_kernel_says(fresh):
    if machine.leaf(0) is None or "emulated" in machine.processor():
        pytest.skip("this C library does not tell, or an emulator has the host's /proc")
    lines = machine.cpuinfo()
    assert machine.signature() == f"{lines['cpu family']}/{lines['model']}/{lines['stepping']}"
    assert set(machine.isa()) == set(machine.LEAVES) & set(lines["flags"].split())


def test_it_is_cheap_to_ask():
    seen = "print([name for name in ('torch', 'numpy') if name in sys.modules])"
    ask = f"import sys; sys.path.insert(0, {str(SOURCE)!r}); {ASK}; {seen}"
    out = subprocess.run([sys.executable, "-S", "-c", ask], capture_output=True, text=True, check=True).stdout
    about, _ = json.loads(out.splitlines()[0])
    assert about == json.loads(json.dumps(machine.describe())) and out.splitlines()[1] == "[]"
    assert about["cores"] >= 1 and about["memory_gib"] > 0 and about["processor"]


def test_glibc_is_told_with_its_version():
    assert machine.libc().split()[0] == (platform.libc_ver()[0] or machine.libc())


@pytest.mark.parametrize(("cpu", "able"), [("Haswell", True), ("Nehalem", False)])
@pytest.mark.skipif(not shutil.which("qemu-x86_64"), reason="no qemu here")
def test_an_emulated_processor_speaks_for_itself(cpu, able):
    about, has_avx2 = emulated(cpu)
    assert has_avx2 is able and "avx512f" not in about["isa"] and about["processor"].endswith("emulated")


def test_an_emulator_can_be_named(monkeypatch):
    monkeypatch.setenv(machine.EMULATED, "EPYC-Milan")
    assert machine.processor() == "EPYC-Milan, emulated"


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("AMD EPYC 7763 64-Core Processor", "AMD EPYC 7763 64-Core Processor"),
        ("AMD EPYC-Milan Processor", "AMD EPYC-Milan Processor, AuthenticAMD 25/1/1"),
    ],
)
def test_a_name_that_says_little_comes_with_its_family(cpu, name, printed):
    cpu({"vendor_id": "AuthenticAMD", "cpu family": 25, "model": 1, "model name": name, "stepping": 1, "flags": "fpu"})
    assert machine.processor() == printed


@pytest.mark.parametrize(("flags", "able"), [("fpu avx avx2 fma f16c bmi2", True), ("avx avx2 fma f16c", False)])
def test_without_glibc_the_kernel_is_believed(cpu, flags, able):
    cpu({"vendor_id": "GenuineIntel", "flags": flags})
    assert machine.has_avx2() is able and machine.isa() == [name for name in machine.LEAVES if name in flags.split()]


def test_on_aarch64_the_usual_names_are_told(cpu):
    cpu({"Features": "fp asimd asimddp sve", "CPU implementer": "0x41", "CPU part": "0xd40"})
    assert machine.isa() == ["neon", "dotprod", "sve"] and not machine.has_avx2()
    assert machine.processor() == "aarch64, CPU implementer 0x41, CPU part 0xd40"


@pytest.mark.parametrize(("limit", "gib"), [(str(2**30), 1.0), ("max", None)])
def test_a_containers_memory_is_its_limit(monkeypatch, tmp_path, limit, gib):
    monkeypatch.setattr(machine, "MEMORY_LIMIT", tmp_path / "none")
    whole = machine.memory_gib()
    (tmp_path / "memory.max").write_text(limit + "\n")
    monkeypatch.setattr(machine, "MEMORY_LIMIT", tmp_path / "memory.max")
    assert machine.memory_gib() == (gib or whole)
