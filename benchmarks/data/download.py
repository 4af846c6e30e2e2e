"""Downloads side by side: this repository's stage and img2dataset, on the same local server with the same faults.

    python benchmarks/data/download.py --rows 20000 --img2dataset ENVIRONMENT/bin/img2dataset

The server runs in a process of its own; so does each client. Told for each: images a second, CPU seconds and peak
memory of the client, good images lost, and bad ones kept. img2dataset lives in an environment of its own
(benchmarks/data/img2dataset.txt), for its packages are older than ours; without it ours is measured alone. Fails where
ours has lost a good image or kept a bad one.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

HERE = Path(__file__).parent
HOST = "pictures.bench.example"
# Share of links with each fault; the rest work. Those that only time-outs end are rare, or they would be the result.
SHARES = {
    "not_found": 0.06, "error_once": 0.01, "html": 0.015, "tiny": 0.01, "truncated": 0.01, "long_length": 0.005,
    "short_length": 0.005, "reset": 0.005, "loop": 0.005, "stall": 0.001,
}  # fmt: skip
GOOD = ("pic", "error_once")
TIMEOUT = 5.0


@contextmanager
def server() -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, str(HERE / "server.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout and process.stdin
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.wait(10)


def table(rows: int, base: str) -> pl.DataFrame:
    kinds = np.random.default_rng(0).choice(
        [*SHARES, "pic"], rows, p=[*SHARES.values(), 1 - sum(SHARES.values())]
    )  # fmt: skip
    urls = [f"{base}/{kind}/{i}.jpg" for i, kind in enumerate(kinds)]
    return pl.DataFrame({"url": urls, "caption": ["一只猫"] * rows, "kind": kinds.tolist()})


def ours(source: Path, folder: Path, concurrency: int) -> dict[str, Any]:
    """The stage, in this process; `source` has URLs of HOST, and `folder`/address.txt says where that is."""
    from gillnext.config.load import from_dict
    from gillnext.download.stage import download

    address = (folder / "address.txt").read_text()
    settings = {
        "concurrency": concurrency, "per_host": 0, "read_timeout": TIMEOUT, "total_timeout": TIMEOUT, "retries": 1,
        "hosts": {HOST: address},
    }  # fmt: skip
    rows = pl.read_parquet(source).with_columns(
        pl.lit("strong").alias("spatial_type"), pl.lit(0).alias("shard"), pl.int_range(pl.len()).alias("row")
    )
    rows.drop("kind").write_parquet(folder / "table.parquet")
    config = from_dict({"download": settings})
    began = time.perf_counter()
    download(config, folder / "table.parquet", folder / "images", folder / "index.jsonl")
    seconds = time.perf_counter() - began
    kept = [json.loads(line)["row"] for line in (folder / "index.jsonl").read_text(encoding="utf-8").splitlines()]
    return {"seconds": seconds, "kept": kept}


def img2dataset(source: Path, folder: Path, concurrency: int, program: str) -> dict[str, Any]:
    """The program, images decoded and then kept as they came, like ours; it would encode them anew if not told."""
    command = [
        program, "--url_list", str(source), "--input_format", "parquet", "--url_col", "url", "--caption_col", "caption",
        "--output_folder", str(folder / "out"), "--output_format", "files", "--processes_count", "2",
        "--thread_count", str(concurrency // 2), "--resize_mode", "no", "--skip_reencode", "True",
        "--timeout", str(int(TIMEOUT)), "--retries", "1",
        "--min_image_size", "16", "--save_additional_columns", '["row"]',
    ]  # fmt: skip
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    seconds = time.perf_counter() - began
    done = [json.loads(path.read_text(encoding="utf-8")) for path in (folder / "out").glob("*/*.json")]
    return {"seconds": seconds, "kept": [one["row"] for one in done if one["status"] == "success"]}


def measure(way: str, source: Path, folder: Path, concurrency: int, program: str) -> dict[str, Any]:
    """In a process of its own: its CPU and memory, and its children's."""
    folder.mkdir()
    command = [sys.executable, __file__, "--way", way, "--source", str(source), "--folder", str(folder)]
    command += ["--concurrency", str(concurrency), "--img2dataset", program]
    (folder / "address.txt").write_text((source.parent / "address.txt").read_text())
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])


def told(way: str, found: dict[str, Any], truth: pl.DataFrame) -> dict[str, Any]:
    good = set(truth.with_row_index("row").filter(pl.col("kind").is_in(GOOD))["row"].to_list())
    kept = set(found.pop("kept"))
    counts = {"way": way, "lost": len(good - kept), "wrongly_kept": len(kept - good), "kept": len(kept)}
    return counts | found | {"images_per_second": len(kept) / found["seconds"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--concurrency", type=int, default=256)
    parser.add_argument("--img2dataset", default="", metavar="PROGRAM")
    parser.add_argument("--out", type=Path, help="JSON of the results")
    parser.add_argument("--way", choices=("ours", "img2dataset"), help="one of them, on --source")
    parser.add_argument("--source", type=Path)
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    if args.way:
        more = [args.img2dataset] if args.way == "img2dataset" else []
        found = globals()[args.way](args.source, args.folder, args.concurrency, *more)
        usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        found["cpu_seconds"] = sum(u.ru_utime + u.ru_stime for u in usage)
        found["peak_mib"] = max(u.ru_maxrss for u in usage) / 1024
        print(json.dumps(found))
        return
    results = []
    with tempfile.TemporaryDirectory() as name, server() as address:
        folder = Path(name)
        (folder / "address.txt").write_text(address.removeprefix("http://"))
        for way in ("ours", "img2dataset") if args.img2dataset else ("ours",):
            base = f"http://{HOST}" if way == "ours" else address
            truth = table(args.rows, base).with_row_index("row")
            truth.write_parquet(folder / f"{way}.parquet")
            found = measure(way, folder / f"{way}.parquet", folder / way, args.concurrency, args.img2dataset)
            results.append(told(way, found, truth.drop("row")))
    for r in results:
        print("{way:<12} {images_per_second:6.0f} images/s  CPU {cpu_seconds:6.1f} s  {peak_mib:5.0f} MiB  "
              "kept {kept:,}  lost {lost}  wrongly kept {wrongly_kept}".format(**r))  # fmt: skip
    if args.out:
        args.out.write_text(json.dumps(results, indent=1), encoding="utf-8")
    sys.exit(bool(results[0]["lost"] or results[0]["wrongly_kept"]))  # ours is the first


if __name__ == "__main__":
    main()
