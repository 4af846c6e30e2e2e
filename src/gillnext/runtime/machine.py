"""What this machine is: processor, instruction sets, C library, cores, memory. Standard library only, and cheap.

On x86-64 the instruction sets are the processor's own answer, through glibc (2.33 or later), which counts those that
the system lets programs use. /proc/cpuinfo answers elsewhere: under an emulator it tells of the host's processor, not
of the emulated one. `GILLNEXT_EMULATED` names the emulated processor where it is known.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import platform
import re
from pathlib import Path
from typing import Any

EMULATED = "GILLNEXT_EMULATED"  # name of the processor that an emulator shows, as "EPYC-Milan"
PORTABLE = ("avx2", "fma", "f16c", "bmi2")  # what portable arithmetic needs of an x86-64 processor
CPUINFO = Path("/proc/cpuinfo")
MEMORY_LIMIT = Path("/sys/fs/cgroup/memory.max")  # a container's own limit

# name in /proc/cpuinfo -> (glibc's index of the CPUID leaf, register 0-3 for eax to edx, bit); Intel's manual, CPUID.
LEAVES = {
    "sse4_2": (0, 2, 20),
    "avx": (0, 2, 28),
    "f16c": (0, 2, 29),
    "fma": (0, 2, 12),
    "bmi2": (1, 1, 8),
    "avx2": (1, 1, 5),
    "avx_vnni": (6, 0, 4),
    "avx512f": (1, 1, 16),
    "avx512dq": (1, 1, 17),
    "avx512bw": (1, 1, 30),
    "avx512vl": (1, 1, 31),
    "avx512_vnni": (1, 2, 11),
    "avx512_bf16": (6, 0, 5),
    "avx512_fp16": (1, 3, 23),
    "amx_tile": (1, 3, 24),
    "amx_bf16": (1, 3, 22),
    "amx_int8": (1, 3, 25),
}
# name in /proc/cpuinfo -> its usual name, on aarch64
ARM = {
    "asimd": "neon",
    "asimdhp": "fp16",
    "asimddp": "dotprod",
    "asimdfhm": "fp16fml",
    "bf16": "bf16",
    "i8mm": "i8mm",
    "sve": "sve",
    "sve2": "sve2",
    "sme": "sme",
}


def x86() -> bool:
    return platform.machine().lower() in ("x86_64", "amd64")


@functools.cache
def cpuinfo() -> dict[str, str]:
    """The first processor of /proc/cpuinfo, key by key; empty where there is no such file."""
    try:
        first = CPUINFO.read_text(encoding="utf-8", errors="replace").strip().split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


@functools.cache
def leaf(index: int) -> tuple[int, ...] | None:
    """A CPUID leaf as glibc counts them: eax to edx as the processor gives them, then the bits of each that programs
    may use; None where glibc does not tell.
    """
    if not x86():
        return None
    try:
        ask = ctypes.CDLL(None).__x86_get_cpuid_feature_leaf
    except (OSError, AttributeError, TypeError):
        return None
    ask.restype, ask.argtypes = ctypes.POINTER(ctypes.c_uint32 * 8), [ctypes.c_uint32]
    return tuple(ask(index).contents)


def isa() -> list[str]:
    """The instruction sets that matter and are there, by their names in /proc/cpuinfo ("neon" for asimd)."""
    if not x86():
        found = cpuinfo().get("Features", "").split()
        return [usual for name, usual in ARM.items() if name in found]
    if leaf(0) is None:
        found = cpuinfo().get("flags", "").split()
        return [name for name in LEAVES if name in found]
    return [name for name, (index, register, bit) in LEAVES.items() if (leaf(index) or ())[4 + register] >> bit & 1]


def has_avx2() -> bool:
    """Whether portable arithmetic is possible: AVX2 with FMA, F16C and BMI2."""
    return set(PORTABLE) <= set(isa())


def signature() -> str:
    """Family/model/stepping as the processor gives them, "6/207/2"; "" where it cannot be asked."""
    if (answer := leaf(0)) is None:
        return ""
    eax = answer[0]
    family, model = eax >> 8 & 0xF, eax >> 4 & 0xF
    if family in (6, 15):
        model |= eax >> 12 & 0xF0
    return f"{family + (eax >> 20 & 0xFF) if family == 15 else family}/{model}/{eax & 0xF}"


def processor() -> str:
    """The processor's name; where it has no number of a model, with vendor and family/model/stepping.

    Of an emulated one the name that `GILLNEXT_EMULATED` gives, or else its family/model/stepping.
    """
    if given := os.environ.get(EMULATED):
        return f"{given}, emulated"
    cpu = cpuinfo()
    if "vendor_id" not in cpu:  # no x86-64, or no Linux
        arm = [f"{key} {cpu[key]}" for key in ("CPU implementer", "CPU part") if key in cpu]
        return ", ".join([cpu.get("model name") or platform.machine(), *arm])
    of_file = "/".join(cpu.get(key, "?") for key in ("cpu family", "model", "stepping"))
    own = signature() or of_file
    if own != of_file:
        return f"x86-64 {own}, emulated"
    name = cpu.get("model name", "x86-64")
    return name if re.search(r"\d{3}", name) else f"{name}, {cpu['vendor_id']} {own}"


def libc() -> str:
    """The C library with its version, "glibc 2.36"; "unknown" where it does not tell."""
    try:
        version = os.confstr("CS_GNU_LIBC_VERSION")
    except (ValueError, OSError):
        version = None
    return version or " ".join(platform.libc_ver()).strip() or "unknown"


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_gib() -> float:
    """The machine's memory in GiB, or a container's limit where that is less."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with contextlib.suppress(OSError, ValueError):  # no cgroups of version 2, or "max"
        total = min(total, int(MEMORY_LIMIT.read_text()))
    return round(total / 2**30, 1)


def describe() -> dict[str, Any]:
    """All of it: processor, isa, libc, cores, memory_gib."""
    return {
        "processor": processor(),
        "isa": isa(),
        "libc": libc(),
        "cores": cores(),
        "memory_gib": memory_gib(),
    }
