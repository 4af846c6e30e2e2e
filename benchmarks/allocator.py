"""Seconds of an adapter's training with and without the workflow's settings of glibc's allocator.

In every round both train at the same time, each on a thread: a machine whose speed changes, changes for both. Tells
whether the weights are the same, byte for byte.

    python benchmarks/allocator.py --results results/demo --rounds 7
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gillnext.runtime.allocator import KEPT

WEIGHTS = "diffusion_pytorch_model.safetensors"


def start(results: Path, settings: Path, out: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "gillnext.cli", "adapter", "--config", results / "config.json", settings]
    command += ["--arm", "attn2", "--seed", "0", "--base", results / "models/base", "--cache", results / "cache"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"} | environment
    silent = subprocess.DEVNULL
    return subprocess.Popen([*map(str, command), "--out", str(out)], env=environment, stdout=silent, stderr=silent)


def race(results: Path, settings: Path, folder: Path) -> dict[str, float]:
    """Seconds of both, started together."""
    began = time.monotonic()
    seconds: dict[str, float] = {}
    ways: dict[str, dict[str, str]] = {"plain": {}, "kept": KEPT}
    running = {name: start(results, settings, folder / name, ways[name]) for name in ways}
    while len(seconds) < len(running):
        for name, process in running.items():
            if name not in seconds and process.poll() is not None:
                if process.returncode:
                    raise SystemExit(f"the training ended with status {process.returncode}; is {results} a whole run?")
                seconds[name] = time.monotonic() - began
        time.sleep(0.05)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("results/demo"), help="a run with base and cache")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=80, help="training steps")
    args = parser.parse_args()
    for name in KEPT:
        os.environ.pop(name, None)
    ratios, same = [], True
    for number in range(args.rounds):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            settings = folder / "settings.yaml"
            settings.write_text(f"adapter: {{steps: {args.steps}, snapshot_every: null}}\n")
            seconds = race(args.results, settings, folder)
            same &= len({(folder / way / WEIGHTS).read_bytes() for way in seconds}) == 1
        ratios.append(seconds["kept"] / seconds["plain"])
        print(f"{number + 1}: plain {seconds['plain']:.1f} s, kept {seconds['kept']:.1f} s", flush=True)
    print(f"kept / plain: median {statistics.median(ratios):.3f}, {min(ratios):.3f} to {max(ratios):.3f}; "
          f"the weights are {'the same' if same else 'NOT the same'}")  # fmt: skip


if __name__ == "__main__":
    main()
