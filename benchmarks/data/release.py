"""A release of Wukong's size through the keyword pass: 256 shards, 100 million rows, none stored longer than needed.

    python benchmarks/data/release.py --rows 100000000 --shards 256

Each shard is written, passed and deleted; only the passing is timed. Captions come from a pool of the world's, URLs
count up, so that no row is repeated. Told: rows a second, the largest resident memory, and what 256 shards would take.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import polars as pl
from keyword_pass import POOL, caption
from memory import Peak

from gillnext.filter.lexicon import read_lexicon
from gillnext.filter.shards import pass_shard
from gillnext.runtime.progress import Progress


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000_000)
    parser.add_argument("--shards", type=int, default=256)
    parser.add_argument("--out", type=Path, help="JSON of the result")
    args = parser.parse_args()
    pool, lexicon = pl.Series([caption(i) for i in range(POOL)]), read_lexicon()
    each, seconds, rows, kept = args.rows // args.shards, 0.0, 0, 0
    with tempfile.TemporaryDirectory() as name, Peak() as peak, Progress("release", args.shards, "shards") as progress:
        folder = Path(name)
        for shard in range(args.shards):
            path = folder / f"wukong_100m_{shard}.csv"
            numbers = pl.int_range(shard * each, (shard + 1) * each, eager=True)
            urls = "http://img.mini-wukong.example/" + numbers.cast(pl.String) + ".jpg"
            pl.DataFrame({"url": urls, "caption": pool.gather(numbers * 7919 % POOL)}).write_csv(path)
            began = time.perf_counter()
            table, counts = pass_shard(path, lexicon, folder / "passed.parquet")
            table.write_parquet(folder / "kept.parquet")
            seconds += time.perf_counter() - began
            rows, kept = rows + counts["rows"], kept + table.height
            path.unlink()
            progress.step(rate=rows / seconds)
    told = {"rows": rows, "kept": kept, "seconds": seconds, "rows_per_second": rows / seconds, "peak_mib": peak.mib}
    print(
        "{rows:,} rows in {seconds:.0f} s: {rows_per_second:,.0f} rows/s, {peak_mib:.0f} MiB, {kept:,} kept".format(
            **told
        )
    )
    if args.out:
        args.out.write_text(json.dumps(told, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
