"""SIGKILL at random moments of each data stage, then the same command again, until it ends: equal outputs?

    python benchmarks/data/kills.py --results results/smoke --times 20

Needs a finished run for its shards, world and models. Every stage is run once undisturbed; then `--times` times with a
kill at a random moment of each attempt but the last, at most four kills a time. Told: kills, and whether all outputs
are byte for byte those of the undisturbed run, but for the folder that an index names its images in.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gillnext.runtime import files

KILLS = 4  # at most, of one run
Command = list[str]


def commands(results: Path, out: Path) -> dict[str, tuple[Command, list[str]]]:
    """Stage → its command, writing under `out`, and the outputs that are compared."""
    cli = [sys.executable, "-m", "gillnext.cli"]
    config = ["--config", str(results / "config.json")]
    shards = sorted(str(path) for path in (results / "world/shards").glob("*.csv"))[:4]
    return {
        "filter": (
            [*cli, "filter", *config, "--shards", *shards, "--model", str(results / "models/classifier"), "--out",
             str(out / "filtered.parquet")],
            ["filtered.parquet", "filtered.json"],
        ),
        "download": (
            [*cli, "serve", "--world", str(results / "world"), "--", *cli, "download", *config, "--table",
             str(results / "filtered/0.parquet"), "--images", str(out / "images"), "--out", str(out / "index.jsonl")],
            ["images", "index.json", "index.jsonl"],
        ),
        "annotate": (
            [*cli, "annotate", *config, "--index", str(results / "index/0.jsonl"), "--model",
             str(results / "models/annotator"), "--out", str(out / "layouts.jsonl")],
            ["layouts.jsonl", "layouts.json"],
        ),
    }  # fmt: skip


def contents(folder: Path, output: str) -> str:
    """A hash of an output that is the same wherever `folder` lies; an index names its images by their path."""
    path = folder / output
    if path.suffix != ".jsonl":
        return files.sha256(path)
    return hashlib.sha256(path.read_bytes().replace(str(folder).encode(), b"")).hexdigest()


def run(command: Command, kill_after: float | None) -> bool:
    """Whether the command ended by itself, in success; it is killed with all its children after that time."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    try:
        _, error = process.communicate(timeout=kill_after)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # its session: the world's server goes at the same moment
        process.communicate()
        return False
    if process.returncode:
        sys.exit(f"{' '.join(command)}\n{error.decode()}")
    return True


def disturbed(command: Command, seconds: float, rng: random.Random) -> int:
    """Run with kills at random moments; returns how many there were."""
    for kills in range(KILLS):
        if run(command, rng.uniform(0.05, 1.0) * seconds):
            return kills
    run(command, None)
    return KILLS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("results/smoke"))
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng, differing = random.Random(args.seed), 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for stage, (command, outputs) in commands(args.results, folder / "whole").items():
            began = time.monotonic()
            run(command, None)
            seconds = time.monotonic() - began
            wanted = [contents(folder / "whole", output) for output in outputs]
            kills, equal = 0, 0
            for i in range(args.times):
                again, _ = commands(args.results, folder / f"{stage}-{i}")[stage]
                kills += disturbed(again, seconds, rng)
                equal += [contents(folder / f"{stage}-{i}", output) for output in outputs] == wanted
            differing += args.times - equal
            print(
                f"{stage:<9} {seconds:5.1f} s undisturbed; {kills} kills in {args.times} runs; {equal} equal",
                flush=True,
            )
    sys.exit(differing > 0)


if __name__ == "__main__":
    main()
