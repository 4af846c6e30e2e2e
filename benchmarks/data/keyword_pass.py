"""The keyword pass from CSV to Parquet, against a Python loop and a regular expression, on the same shard.

    python benchmarks/data/keyword_pass.py --rows 4000000

The shard's captions are the world's (a share of web noise, some that name places), with URLs of their own. Told: rows
a second, peak memory, and whether all let the same rows through.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl
from memory import Peak

from gillnext.filter.keyword import has_term
from gillnext.filter.lexicon import read_lexicon
from gillnext.filter.shards import pass_shard
from gillnext.runtime import seeds
from gillnext.world import captions, noise, scenes

POOL = 40_000  # captions that the shard is made of
WAYS = ("ours", "loop", "regex")
TIMES = {"ours": 3, "loop": 1, "regex": 1}


def caption(i: int) -> str:
    rng = seeds.rng("keyword-bench", i)
    if rng.random() < 0.95:
        return noise.noise(rng, "world")
    stated = captions.spatial(scenes.sample(0, "keyword-bench", i), rng, "world")
    return stated[0] if stated else "一只猫"


def write_shard(path: Path, rows: int) -> None:
    pool = pl.Series([caption(i) for i in range(POOL)])
    numbers = pl.int_range(rows, eager=True)
    table = pl.DataFrame({
        "url": "http://img.mini-wukong.example/" + numbers.cast(pl.String) + ".jpg",
        "caption": pool.gather(numbers * 7919 % POOL),
    })  # fmt: skip
    table.write_csv(path)


def ours(path: Path, out: Path) -> list[int]:
    table, _ = pass_shard(path, read_lexicon(), out)
    table.write_parquet(out)
    return table["row"].to_list()


def loop(path: Path, out: Path) -> list[int]:
    """csv, and `in` for every term; then the exact rule."""
    lexicon = read_lexicon()
    with open(path, encoding="utf-8", newline="") as text:
        rows = list(csv.DictReader(text))
    kept = [i for i, r in enumerate(rows) if any(t in r["caption"] for t in lexicon.terms)]
    kept = [i for i in kept if has_term(rows[i]["caption"], lexicon)]
    pl.DataFrame([rows[i] for i in kept]).write_parquet(out)
    return kept


def regex(path: Path, out: Path) -> list[int]:
    """Polars reads, one alternation of all terms searches."""
    lexicon = read_lexicon()
    table = pl.read_csv(path, infer_schema=False)
    pattern = re.compile("|".join(map(re.escape, lexicon.terms)))
    found = [i for i, c in enumerate(table["caption"].to_list()) if c and pattern.search(c)]
    texts = table["caption"].gather(found).to_list()
    kept = [i for i, text in zip(found, texts, strict=True) if has_term(text, lexicon)]
    table[kept].write_parquet(out)
    return kept


def measure(way: str, path: Path) -> dict[str, float | str]:
    """In a process of its own, so that its peak memory is its own."""
    command = [sys.executable, __file__, "--way", way, "--shard", str(path)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--way", choices=WAYS, help="one of them, on --shard")
    parser.add_argument("--shard", type=Path)
    parser.add_argument("--out", type=Path, help="JSON of the results")
    args = parser.parse_args()
    if args.way:
        with tempfile.TemporaryDirectory() as folder, Peak() as peak:
            few = Path(folder) / "few.csv"
            write_shard(few, 1000)
            globals()[args.way](few, Path(folder) / "few.parquet")  # what is made once is not timed
            began = time.perf_counter()
            kept = globals()[args.way](args.shard, Path(folder) / "out.parquet")
            seconds = time.perf_counter() - began
        rows = pl.scan_csv(args.shard, infer_schema=False).select(pl.len()).collect().item()
        digest = str(pl.Series(kept, dtype=pl.Int64).hash().sum())
        told = {"way": args.way, "rows": rows, "kept": len(kept), "seconds": seconds, "rows_per_second": rows / seconds}
        print(json.dumps(told | {"peak_mib": peak.mib, "digest": digest}))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "wukong_100m_0.csv"
        write_shard(path, args.rows)
        results = [measure(way, path) for way in WAYS for _ in range(TIMES[way])]
    for r in results:
        print(
            "{way:<6} {rows_per_second:>12,.0f} rows/s {seconds:6.2f} s {peak_mib:6.0f} MiB  kept {kept:,}".format(**r)
        )
    if len({r["digest"] for r in results}) > 1:
        sys.exit("the ways let different rows through")
    if args.out:
        args.out.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
