"""Which arithmetic a process computes in: `portable`, the same bits on every processor, or `fast`, its best kernels.

torch, MKL, NumPy and OpenBLAS choose kernels by instruction set; kernels add in different orders, and training makes
seeds of the last bits. Portable arithmetic holds them to AVX2, which every x86-64 processor of the last ten years has,
and MKL to the path that it promises to be the same on all of them; `gillnext.runtime.portable` gives torch products and
convolutions whose sums have one order. The variables are read when a library is loaded, so `begin` comes before that:
the command line and the tests call it first. Standard library only.

    GILLNEXT_ARITHMETIC=fast gillnext draw …     # where run.arithmetic is auto
"""

from __future__ import annotations

import os
import sys
from typing import Literal

from gillnext.runtime import machine
from gillnext.runtime.errors import UserError

Arithmetic = Literal["portable", "fast"]

VARIABLE = "GILLNEXT_ARITHMETIC"  # what `run.arithmetic: auto` means, and what this process has begun with
PORTABLE = {
    "ATEN_CPU_CAPABILITY": "avx2",  # torch's own kernels
    "MKL_CBWR": "COMPATIBLE",  # what torch leaves to MKL: batched products, attention, LAPACK
    "OPENBLAS_CORETYPE": "Haswell",  # NumPy's and SciPy's linear algebra
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",  # NumPy's own kernels
}
READERS = ("torch", "numpy", "scipy")  # who reads them when loaded


def resolve(setting: str = "auto", device: str = "cpu", precision: str = "no") -> Arithmetic:
    """What `run.arithmetic` means on this machine; `UserError` where portable is asked for and cannot be.

    `auto` is portable on a CPU that has AVX2, unless `GILLNEXT_ARITHMETIC` says fast. Other devices and
    precisions are always fast.
    """
    missing, asked = lacking(device, precision), os.environ.get(VARIABLE, "auto")
    for value, where in ((setting, "run.arithmetic"), (asked, VARIABLE)):
        if value not in ("auto", "portable", "fast"):
            raise UserError(f"{value!r} is no arithmetic", where=where, remedy="auto, portable or fast")
    if setting == "portable" and missing:
        raise UserError(missing, where="run.arithmetic: portable", remedy="run.arithmetic: auto or fast")
    fast = missing or "fast" in (setting, asked if setting == "auto" else setting)
    return "fast" if fast else "portable"


def lacking(device: str = "cpu", precision: str = "no") -> str:
    """Why there is no portable arithmetic here; "" where there is."""
    if not device.startswith("cpu"):
        return f"models on {device} have the device's own arithmetic"
    if precision != "no":
        return f"kernels for {precision} are the processor's own"
    return "" if machine.has_avx2() else "this processor has no AVX2"


def variables(chosen: Arithmetic) -> dict[str, str]:
    """The environment of a process in an arithmetic: what the workflow gives its jobs."""
    return {VARIABLE: chosen, **(PORTABLE if chosen == "portable" else {})}


def current() -> Arithmetic:
    """The arithmetic that this process has begun in; fast where nothing was begun."""
    return "portable" if os.environ.get(VARIABLE) == "portable" and _held() else "fast"


def begin(setting: str = "auto", device: str = "cpu", precision: str = "no") -> Arithmetic:
    """Set this process's environment, and that of those it starts; returns the arithmetic.

    Raises `UserError` where a library was loaded under another before.
    """
    chosen = resolve(setting, device, precision)
    loaded = [name for name in READERS if name in sys.modules]
    if loaded and _held() != (chosen == "portable"):
        raise UserError(
            f"{loaded[0]} was loaded before in another arithmetic than {chosen}",
            where="run.arithmetic",
            remedy=f"set {VARIABLE}={chosen} and call gillnext.runtime.arithmetic.begin() before importing {loaded[0]}",
        )
    if chosen == "fast" and _held():
        for name in PORTABLE:
            del os.environ[name]
    os.environ.update(variables(chosen))
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # else as many as the machine has cores; the workflow sets it
    return chosen


def _held() -> bool:
    """Whether the environment is that of portable arithmetic."""
    return all(os.environ.get(name) == value for name, value in PORTABLE.items())
