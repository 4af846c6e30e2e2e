"""Runs the chain of toy stages here and on emulated processors, and compares what they make, to the bit.

    python tests/processors/emulate.py --run results/smoke --out build/processors                 # make test-processors
    python tests/processors/emulate.py --run results/smoke --out build/processors --stages short  # what CI does

Needs qemu-x86_64 (Debian: qemu-user). The emulated processors report other caches than this machine, and one of them no
third level, by which oneDNN might choose its blocks. Also runs the chain natively as machines differ that share a
processor: one visible core, and oneDNN held to lesser instruction sets. Each runs in a process of its own, two at a
time; a log of each and `processors.json`, which tells who agreed, lie in `--out`. Ends with status 1 where one does
not agree.

Emulated are the processor's instructions. Not emulated: the C library, which is this machine's, and programs that a
stage starts, of which these stages have none. qemu computes approximate reciprocals exactly, as no processor does.
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

import chain

from gillnext.runtime import arithmetic, files, machine
from gillnext.runtime.errors import UserError

QEMU = "qemu-x86_64"


@dataclass(frozen=True)
class Variant:
    """A way to run the chain: what stands before the command, what is in its environment."""

    name: str
    before: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def emulated(self) -> bool:
        return self.before[:1] == [QEMU]


def emulated(cpu: str) -> Variant:
    return Variant(cpu, [QEMU, "-cpu", cpu], {machine.EMULATED: cpu})


NATIVE = Variant("native")
SHORT = [NATIVE, emulated("Haswell"), emulated("EPYC-Milan")]
ALL = [
    *SHORT,
    emulated("Haswell,l3-cache=off"),
    Variant("native, one visible core", ["taskset", "--cpu-list", "0"]),
    Variant("native, oneDNN held to AVX2", environment={"ONEDNN_MAX_CPU_ISA": "AVX2"}),
    Variant("native, oneDNN held to AVX-512", environment={"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}),
]


def run(variant: Variant, args: argparse.Namespace) -> dict[str, object]:
    """What the chain says of one variant: hashes by stage, or the error that ended it."""
    out = args.out / variant.name.replace(", ", "-").replace(" ", "-")
    shutil.rmtree(out, ignore_errors=True)
    command = [*variant.before, sys.executable, "-W", "ignore", chain.__file__]
    command += ["--run", str(args.run), "--out", str(out), "--stages", *args.stages]
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | arithmetic.variables("portable") | variant.environment
    began = time.monotonic()
    with open(args.out / f"{out.name}.log", "w", encoding="utf-8") as log:
        status = subprocess.run(command, env=environment, stdout=log, stderr=subprocess.STDOUT).returncode
    told = (
        files.read_json(out / "hashes.json") if status == 0 else {"stages": {}, "error": f"status {status}: {log.name}"}
    )
    shutil.rmtree(out, ignore_errors=True)
    print(f"{variant.name}: {time.monotonic() - began:.0f} s, {told.get('error', 'done')}", flush=True)
    return told | {"emulated": variant.emulated}


def differing(mine: dict[str, str], native: dict[str, str]) -> list[str]:
    """Stages whose values are not the native ones, in the chain's order."""
    return [name for name in native if mine.get(name) != native[name]]


def main() -> int:
    args = chain.arguments(__doc__, "folder of logs and processors.json")
    if not shutil.which(QEMU):
        raise UserError(f"no {QEMU} here", remedy="apt install qemu-user")
    args.out.mkdir(parents=True, exist_ok=True)
    variants = SHORT if args.stages == ["short"] else ALL
    with ThreadPoolExecutor(2) as pool:
        found = dict(zip([v.name for v in variants], pool.map(lambda v: run(v, args), variants), strict=True))
    native, agreed = found[NATIVE.name], True
    for name, told in found.items():
        unlike = differing(told["stages"], native["stages"])
        agreed = agreed and not unlike and not told.get("error")
        said = f"unlike in {', '.join(unlike)}" if unlike else f"{len(told['stages'])} stages equal"
        print(f"{name:<32} {told.get('processor', ''):<50} {told.get('error') or said}")
        told["unlike"] = unlike
    files.write_json(args.out / "processors.json", found)
    print("every processor makes the same values" if agreed else json.dumps({k: v["unlike"] for k, v in found.items()}))
    return 0 if agreed else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(str(error))
