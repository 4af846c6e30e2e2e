"""Runs the chain of toy stages here and on emulated processors, and compares what they make, to the bit.

    python tests/processors/emulate.py --run results/smoke --out build/processors                 # make test-processors
    python tests/processors/emulate.py --run results/smoke --out build/processors --stages short  # what CI does

Needs qemu-x86_64 (Debian: qemu-user). The emulated processors report other caches than this machine, and one of them
no third level, by which oneDNN might choose its blocks; that one trains a text and an image network and draws, no
more. Also runs the chain natively as machines differ that share a processor: one visible core, and oneDNN held to
lesser instruction sets. Each runs in a process of its own, two at a time; a log of each and `processors.json`, which
tells who agreed, lie in `--out`. Ends with status 1 where one does not agree. A call that was ended goes on where it
was, stage by stage.

Emulated are the processor's instructions. Not emulated: the C library, which is this machine's, and programs that a
stage starts, of which these stages have none. qemu computes approximate reciprocals exactly, as no processor does.
Under qemu 7.2 NumPy's AVX2 kernel for a maximum of strided numbers makes other values than on the processor, or ends
the process; so the stages in `STRIDED` are emulated in a process of their own, without NumPy's AVX2 kernels.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import chain

from gillnext.runtime import arithmetic, files, machine
from gillnext.runtime.errors import UserError

QEMU = "qemu-x86_64"
STRIDED = ("score",)  # stages that take NumPy's maximum of strided numbers


@dataclass(frozen=True)
class Variant:
    """A way to run the chain: what stands before the command, what is in its environment."""

    name: str
    before: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    stages: tuple[str, ...] = ()  # these alone; () for all that are asked for

    @property
    def emulated(self) -> bool:
        return self.before[:1] == [QEMU]


def emulated(cpu: str, *stages: str) -> Variant:
    return Variant(cpu, [QEMU, "-cpu", cpu], {machine.EMULATED: cpu}, stages)


NATIVE = Variant("native")
SHORT = [NATIVE, emulated("Haswell"), emulated("EPYC-Milan")]
ALL = [
    *SHORT,
    emulated("Haswell,l3-cache=off", "classifier", "base_on_windows", "sample"),
    Variant("native, one visible core", ["taskset", "--cpu-list", "0"]),
    Variant("native, oneDNN held to AVX2", environment={"ONEDNN_MAX_CPU_ISA": "AVX2"}),
    Variant("native, oneDNN held to AVX-512", environment={"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}),
]


def chained(variant: Variant, args: argparse.Namespace, stages: list[str], *options: str) -> dict[str, Any]:
    """What the chain says of some stages of one variant: hashes by stage, or the error that ended it."""
    out = args.out / "".join([variant.name.replace(", ", "-").replace(" ", "-"), *options])
    command = [*variant.before, sys.executable, "-W", "ignore", chain.__file__, "--run", str(args.run)]
    command += ["--out", str(out), "--stages", *stages, *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | arithmetic.variables("portable") | variant.environment
    with open(args.out / f"{out.name}.log", "a", encoding="utf-8") as log:
        status = subprocess.run(command, env=environment, stdout=log, stderr=subprocess.STDOUT).returncode
    hashes = out / "hashes.json"  # of the stages that ended, where one did not
    made = files.read_json(hashes) if hashes.exists() else {"stages": {}}
    if status:
        return made | {"error": f"status {status}: {log.name}"}
    shutil.rmtree(out)
    files.write_json(hashes, made)  # another call has the values from here
    return made


def run(variant: Variant, args: argparse.Namespace) -> dict[str, Any]:
    """The same of all stages, in one process, or in two where some of them cannot be emulated with all kernels."""
    began = time.monotonic()
    names = [name for name in chain.named(args.stages) if not variant.stages or name in variant.stages]
    apart = [name for name in names if name in STRIDED] if variant.emulated else []
    made = chained(variant, args, [name for name in names if name not in apart])
    if apart:
        more = chained(variant, args, apart, "--without-numpy-avx2")
        found = made["stages"] | more["stages"]
        made = more | made | {"stages": {name: found[name] for name in names if name in found}}
    print(f"{variant.name}: {time.monotonic() - began:.0f} s, {made.get('error', 'done')}", flush=True)
    return made | {"emulated": variant.emulated, "chain": names}


def differing(mine: dict[str, Any], native: dict[str, str]) -> list[str]:
    """Stages of a variant whose values are not the native ones, in the chain's order."""
    return [name for name in mine["chain"] if mine["stages"].get(name) != native.get(name)]


def main() -> int:
    args = chain.arguments(__doc__, "folder of logs and processors.json")
    if not shutil.which(QEMU):
        raise UserError(f"no {QEMU} here", remedy="apt install qemu-user")
    args.out.mkdir(parents=True, exist_ok=True)
    variants = SHORT if args.stages == ["short"] else ALL
    with ThreadPoolExecutor(2) as pool:
        found = dict(zip([v.name for v in variants], pool.map(lambda v: run(v, args), variants), strict=True))
    native, agreed = found[NATIVE.name], True
    for name, made in found.items():
        unlike = differing(made, native["stages"])
        agreed = agreed and not unlike and not made.get("error")
        said = f"unlike in {', '.join(unlike)}" if unlike else f"{len(made['stages'])} stages equal"
        print(f"{name:<32} {made.get('processor', ''):<50} {made.get('error') or said}")
        made["unlike"] = unlike
    files.write_json(args.out / "processors.json", found)
    print("every processor makes the same values" if agreed else json.dumps({k: v["unlike"] for k, v in found.items()}))
    return 0 if agreed else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(str(error))
