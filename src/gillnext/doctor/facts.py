"""What a reviewer or a bug report needs to know of a machine and a checkout, one finding a line."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy
import scipy
import torch

import gillnext
from gillnext.config.model import Config
from gillnext.runtime import arithmetic, files, machine, provenance, training
from gillnext.runtime.errors import UserError

ROOT = Path(gillnext.__file__).parents[2]  # of the checkout
DISK_GIB, MEMORY_GIB = 4, 8  # what the demo takes

# Variables that change what is computed, or how fast.
VARIABLES = re.compile(
    r"^(OMP|MKL|GOMP|KMP|OPENBLAS|ATEN|ONEDNN|DNNL|NPY|MALLOC|GLIBC|TORCH|PYTORCH|CUDA|LD_PRELOAD|GILLNEXT)(_|$)"
)


@dataclass(frozen=True)
class Finding:
    """One line: a name and what was found; `fix` where something should be done; `fails` where a run is certain to
    fail, or to compute something else. `values` are what a program would read.
    """

    name: str
    state: str
    fix: str = ""
    fails: bool = False
    values: dict[str, Any] = field(default_factory=dict)


def answer(*command: str | Path, where: Path | None = None) -> str | None:
    """What a program prints; None where it is not there, or fails."""
    try:
        run = subprocess.run(command, cwd=where, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return None if run.returncode else run.stdout.strip()


def arithmetic_used(cfg: Config) -> tuple[str, Finding]:
    """The arithmetic that this process has begun in ("portable" or "fast"), and the line that says why."""
    used = arithmetic.current()
    meaning = {"portable": "the same bits on every processor that has AVX2", "fast": "the same to rounding only"}[used]
    why = f"run.arithmetic: {cfg.run.arithmetic}"
    if used == "fast":
        lacking = arithmetic.lacking(cfg.run.device, cfg.run.precision)
        why += f"; {lacking or f'it or {arithmetic.VARIABLE} asks for it'}"
    return used, Finding("arithmetic", f"{used}: {meaning} ({why})")


def the_machine() -> Iterator[Finding]:
    about = machine.describe()
    yield Finding("processor", about["processor"], values=about)
    yield Finding("instructions", " ".join(about["isa"]) or "none of those known")
    yield Finding("libc", about["libc"])
    memory = f"{about['memory_gib']} GiB"
    fix = f"the demo takes {MEMORY_GIB} GiB with two jobs at a time; with CORES=1 it needs less"
    yield Finding("memory", memory, fix if about["memory_gib"] < MEMORY_GIB - 0.7 else "")  # what firmware keeps


def threads(cfg: Config) -> Finding:
    """Threads of the settings against the cores that are there."""
    cores, variable = machine.cores(), os.environ.get("OMP_NUM_THREADS", "not set")
    state = f"{cfg.run.threads} a job, {cfg.base.threads} for the base; {cores} cores; OMP_NUM_THREADS {variable}"
    fix = "give this machine or container two cores: on one a run has the same results and takes about twice as long"
    return Finding("threads", state, fix if cores < 2 else "")


def blas(module: Any) -> str:
    """Name and version of the BLAS that numpy or scipy was built with."""
    found = module.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return f"{module.__name__} {module.__version__} ({found['name']} {found['version']})"


def libraries(device: str) -> Iterator[Finding]:
    config = torch.__config__.show()
    mkl = re.search(r"Math Kernel Library Version (\S+?)-", config)
    onednn = re.search(r"MKL-DNN (\S+)", config)
    parts = [
        f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built for the CPU",
        f"CPU capability {torch.backends.cpu.get_cpu_capability()}",
        f"MKL {mkl[1]}" if mkl else "no MKL",
        f"oneDNN {onednn[1]}" if onednn else "no oneDNN",
    ]
    yield Finding("torch", f"{torch.__version__}, {', '.join(parts)}")
    yield Finding("BLAS", f"{blas(numpy)}, {blas(scipy)}")
    count = torch.cuda.device_count()
    seen = f"{device}; {count} GPU{'' if count == 1 else 's'} seen"
    try:
        training.check_device(device)
        yield Finding("device", seen)
    except UserError as error:
        yield Finding("device", f"{error.where}: {error.what}", error.remedy, fails=True)


def disk(tier: str) -> Finding:
    """Room where the results go; a folder that cannot be written to fails."""
    folder = Path("results") / tier
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(there, os.W_OK):
        fix = "run with --directory, in a folder that can be written to (docs/running.md, In containers)"
        return Finding("disk", f"{there.resolve()} cannot be written to", fix, fails=True)
    free = shutil.disk_usage(there).free / 2**30
    short = tier in ("demo", "study") and free < DISK_GIB and there != folder
    fix = f"free some disk: the demo writes about {DISK_GIB} GiB, the environment 6 GB more"
    return Finding("disk", f"{free:.1f} GiB free for {folder}", fix if short else "")


def container() -> Finding:
    """The container runtime, which only runs in containers need."""
    if provenance.image() != "host":
        return Finding("container", f"in the image {provenance.image()}")
    version = answer("apptainer", "--version") or answer("singularity", "--version")
    spaces = (
        "no user namespaces" if answer("unshare", "--user", "--map-root-user", "true") is None else "user namespaces"
    )
    return Finding("container", f"{version or 'no apptainer, which runs in containers alone need'}; {spaces}")


def checkout() -> Iterator[Finding]:
    """Locks, the environment's agreement with them, and the revision, as far as they are there."""
    locks = ROOT / "envs/pipeline.txt"
    yield Finding("locks", files.sha256(locks)[:16] if locks.exists() else "no envs/pipeline.txt")
    if provenance.image() == "host":
        yield environment()
    revision = answer("git", "rev-parse", "--short=12", "HEAD", where=ROOT)
    changes = (answer("git", "status", "--porcelain", where=ROOT) or "").splitlines()
    state = f", {len(changes)} file{'s'[: len(changes) != 1]} changed" if changes else ""
    git = f"git {revision}{state}" if revision else "no git here"
    yield Finding("code", f"{gillnext.__version__}, {provenance.code_hash()}, {git}")


def environment() -> Finding:
    """Whether .venv is what the locks ask for: `make` would have nothing to do for it."""
    python = f"Python {sys.version.split()[0]}"
    if Path(sys.prefix).resolve() != (ROOT / ".venv").resolve():
        return Finding("environment", f"{python} of {sys.prefix}, not .venv", "make env, then .venv/bin/gillnext")
    if not shutil.which("make"):
        return Finding("environment", f"{python}, .venv; no make to compare it with the locks")
    if answer("make", "--question", "env", where=ROOT) is None:
        return Finding("environment", f"{python}, .venv, which is not of these locks or this place", "make env")
    return Finding("environment", f"{python}, .venv as locked")


def variables() -> Finding:
    """The variables of the environment that matter."""
    found = [f"{name}={value}" for name, value in sorted(os.environ.items()) if VARIABLES.match(name)]
    return Finding("variables", " ".join(found) or "none that matters is set")


def facts(cfg: Config) -> Iterator[Finding]:
    """Every finding that takes no measurement."""
    yield from the_machine()
    yield threads(cfg)
    yield arithmetic_used(cfg)[1]
    yield from libraries(cfg.run.device)
    yield disk(cfg.run.tier)
    yield container()
    yield from checkout()
    yield variables()
