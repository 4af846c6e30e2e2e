"""Ten minutes of one GPU of 80 GB, used well: each part as a process with a limit of its own, a JSON of its own.

    make bench-gpu                # all parts, to build/gpu/
    make bench-gpu TOY=1          # the same at toy size, on a CPU as well

`--scale 0.5` halves every limit. A part that is stopped at its limit has written what it measured until then.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Seconds of each part; of `stages` most is imports, of `base` everything is training.
PARTS = {"stages": 95, "kolors": 165, "language": 125, "base": 215}
GRACE = 40  # seconds for imports before a part looks at its clock, and for a last file


def part(name: str, out: Path, seconds: float, toy: bool, models: Path) -> int | None:
    """Run one part; its exit status, None where it was stopped."""
    command = [
        sys.executable,
        str(HERE / f"{name}.py"),
        "--out",
        str(out / f"{name}.json"),
        "--seconds",
        f"{seconds:.0f}",
    ]
    command += ["--toy"] if toy else []
    command += ["--models", str(models)] if name in ("stages", "base") else []
    path = os.pathsep.join(filter(None, [str(HERE.parents[1] / "src"), os.environ.get("PYTHONPATH")]))
    try:
        return subprocess.run(
            command, timeout=seconds + GRACE, env=os.environ | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
        ).returncode
    except subprocess.TimeoutExpired:
        return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/gpu"), help="folder of the parts' JSON and pictures")
    parser.add_argument("--models", type=Path, default=Path("reference/models"),
                        help="the kept models")  # fmt: skip
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="which parts, in this order")
    parser.add_argument("--scale", type=float, default=1.0, help="times every limit")
    parser.add_argument("--toy", action="store_true", help="toy sizes")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    ended = {}
    for name in args.parts:
        print(f"== {name}", flush=True)
        began = time.perf_counter()
        ended[name] = part(name, args.out, args.scale * PARTS[name], args.toy, args.models)
        print(f"== {name}: exit {ended[name]}, {time.perf_counter() - began:.0f} s", flush=True)
    return int(any(status != 0 for status in ended.values()))


if __name__ == "__main__":
    sys.exit(main())
