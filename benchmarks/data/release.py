"""A release of Wukong's size through the keyword pass: 256 shards, 100 million rows, none stored longer than needed.

    python benchmarks/data/release.py --rows 100000000 --shards 256

Each shard is written, passed and deleted; timed are the pass, with repeated rows taken out, and all that the filter
does with a shard (a look for an earlier run's work, the pass, its notes, and what passed read again). Captions come
from a pool of the world's, a few of them empty or of several lines; URLs count up, so that no row is repeated. Told:
rows a second of both, and the largest memory. Fails where one of them is slower than `--bar`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import polars as pl
from keyword_pass import BAR, captions_of, write_shard
from memory import Peak

from gillnext.filter.lexicon import read_lexicon
from gillnext.filter.shards import pass_shard
from gillnext.filter.stage import Sifted
from gillnext.runtime.progress import Progress


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000_000)
    parser.add_argument("--shards", type=int, default=256)
    parser.add_argument("--bar", type=float, default=BAR, help="rows a second that are asked for; 0: none")
    parser.add_argument("--out", type=Path, help="JSON of the result")
    args = parser.parse_args()
    pool, lexicon = captions_of(), read_lexicon()
    each, seconds, whole, rows, kept = args.rows // args.shards, 0.0, 0.0, 0, 0
    with tempfile.TemporaryDirectory() as name, Peak() as peak, Progress("release", args.shards, "shards") as progress:
        folder = Path(name)
        sifted = Sifted(folder / "sifted")
        for shard in range(args.shards):
            path = folder / f"wukong_100m_{shard}.csv"
            write_shard(path, each, pool, shard * each)
            began = time.perf_counter()
            counts = pass_shard(path, lexicon, folder / "kept.parquet")
            seconds += time.perf_counter() - began
            began = time.perf_counter()
            again, _ = sifted.read(path)
            whole += time.perf_counter() - began
            passed = pl.read_parquet(folder / "kept.parquet").height
            rows, kept = rows + counts["rows"], kept + passed
            if again.height != passed:
                sys.exit(f"{path.name}: {passed} rows pass, {again.height} are left of them")
            for file in (path, *sifted.work.iterdir()):
                file.unlink()
            progress.step(rate=rows / seconds)
    rates = {"rows_per_second": rows / seconds, "stage_rows_per_second": rows / whole}
    told = {"rows": rows, "kept": kept, "seconds": seconds, "stage_seconds": whole, **rates, "peak_mib": peak.mib}
    print(f"pass  {rows:,} rows in {seconds:.0f} s: {rows / seconds:,.0f} rows/s, {kept:,} kept")
    print(f"stage {rows:,} rows in {whole:.0f} s: {rows / whole:,.0f} rows/s; {peak.mib:.0f} MiB at most")
    if args.out:
        args.out.write_text(json.dumps(told, indent=1), encoding="utf-8")
    if min(rates.values()) < args.bar:
        sys.exit(f"{min(rates.values()):,.0f} rows/s are fewer than {args.bar:,.0f}")


if __name__ == "__main__":
    main()
