"""The keyword pass from CSV to Parquet, against a Python loop and a regular expression, on the same shard.

    python benchmarks/data/keyword_pass.py --rows 4000000

The shard's captions are the world's (a share of web noise, some that name places), with URLs of their own; one in a
thousand is empty, and one has several lines. `ours` is the pass; `stage` is all that the filter does with a shard: it
looks for an earlier run's work, passes the shard and reads what passed again. Told: rows a second, peak
memory, and whether all let the same rows through. Fails where `ours` or `stage` is slower than `--bar`.
"""

from __future__ import annotations

import argparse
import csv
import json
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
from gillnext.filter.stage import Sifted
from gillnext.miniatures.world import captions, noise, scenes
from gillnext.runtime import seeds

POOL = 40_000  # captions that the shard is made of
EVERY = 1000  # rows of which one caption is empty, and one is LINES
LINES = '第一行，春天\n左边是一棵树，"右边"是一座房子\n第三行'
BAR = 4e6  # rows a second
TIMES = {"ours": 3, "stage": 3, "loop": 1, "regex": 1}


def caption(i: int) -> str:
    rng = seeds.rng("keyword-bench", i)
    if rng.random() < 0.95:
        return noise.noise(rng, "world")
    stated = captions.spatial(scenes.sample(0, "keyword-bench", i), rng, "world")
    return stated[0] if stated else "一只猫"


def captions_of() -> pl.Series:
    """The captions that shards are made of."""
    return pl.Series([caption(i) for i in range(POOL)])


def write_shard(path: Path, rows: int, pool: pl.Series, first: int = 0) -> None:
    """Rows `first` and after of a release whose URLs count up; a few captions are empty, a few have several lines."""
    numbers = pl.int_range(first, first + rows, eager=True)
    urls = "http://img.mini-wukong.example/" + numbers.cast(pl.String) + ".jpg"
    at = numbers % EVERY
    table = pl.DataFrame({"at": at, "url": urls, "caption": pool.gather(numbers * 7919 % len(pool))})
    kind = (
        pl.when(pl.col("at") == 1).then(None).when(pl.col("at") == 2).then(pl.lit(LINES)).otherwise(pl.col("caption"))
    )
    table.select("url", kind.alias("caption")).write_csv(path)


def ours(path: Path, out: Path) -> list[int]:
    pass_shard(path, read_lexicon(), out)
    return pl.read_parquet(out)["row"].to_list()


def stage(path: Path, out: Path) -> list[int]:
    """What the filter does with a shard that no earlier run has passed."""
    table, _ = Sifted(out.parent / "sifted").read(path)
    return table["row"].to_list()


def loop(path: Path, out: Path) -> list[int]:
    """csv, and the rule for every row."""
    lexicon = read_lexicon()
    with open(path, encoding="utf-8", newline="") as text:
        rows = list(csv.DictReader(text))
    kept = [i for i, r in enumerate(rows) if has_term(r["caption"], lexicon)]
    pl.DataFrame([rows[i] for i in kept]).write_parquet(out)
    return kept


def regex(path: Path, out: Path) -> list[int]:
    """Polars reads, one alternation of all terms searches."""
    lexicon = read_lexicon()
    table = pl.read_csv(path, infer_schema=False)
    found = [i for i, c in enumerate(table["caption"].to_list()) if c and lexicon.pattern.search(c)]
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
    parser.add_argument("--way", choices=TIMES, help="one of them, on --shard")
    parser.add_argument("--shard", type=Path)
    parser.add_argument("--bar", type=float, default=BAR, help="rows a second that are asked for; 0: none")
    parser.add_argument("--out", type=Path, help="JSON of the results")
    args = parser.parse_args()
    if args.way:
        with tempfile.TemporaryDirectory() as folder, Peak() as peak:
            few = Path(folder) / "few_0.csv"
            write_shard(few, 1000, pl.Series([caption(i) for i in range(1000)]))
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
        write_shard(path, args.rows, captions_of())
        results = [measure(way, path) for way in TIMES for _ in range(TIMES[way])]
    for r in results:
        print(
            "{way:<6} {rows_per_second:>12,.0f} rows/s {seconds:6.2f} s {peak_mib:6.0f} MiB  kept {kept:,}".format(**r)
        )
    if len({r["digest"] for r in results}) > 1:
        sys.exit("the ways let different rows through")
    if args.out:
        args.out.write_text(json.dumps(results, indent=1), encoding="utf-8")
    for way in ("ours", "stage"):
        best = max(r["rows_per_second"] for r in results if r["way"] == way)
        if best < args.bar:
            sys.exit(f"{way}: {best:,.0f} rows/s are fewer than {args.bar:,.0f}")


if __name__ == "__main__":
    main()
