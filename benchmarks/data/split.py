"""A release of a million layouts, split: seconds and memory of `gillnext split`, and of rows of a tenth for comparison.

    python benchmarks/data/split.py --rows 1000000 --parts 64

Layouts and fingerprints are synthetic: captions of the web's length, 1 to 6 boxes, URLs; of the perceptual hashes a
tenth lie around 1,000 centres, as pictures of one kind do, and 2% are near an earlier one; 2% of the rows are copies.
Told: seconds, by the clock and of a core, the largest memory of the process (without mapped files), and bytes a row
between both sizes. Fails where copies are missed, or the memory is above `--bar` MiB.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
from memory import Peak

from gillnext.config.load import from_dict
from gillnext.split import fingerprint
from gillnext.split.pictures import NEAR, SAME_CONTENT, parts_of
from gillnext.split.stage import split

NAMES = "猫狗桌椅树花车房山船书灯门床海鸟鱼马伞碗"
COPIES = NEAR_SHARE = 0.02
BAR = 2048  # MiB


def hashes(rng: np.random.Generator, rows: int) -> np.ndarray:
    """(rows,) uint64 hashes, some around centres, some near an earlier one."""
    found = rng.integers(2**64, size=rows, dtype=np.uint64)
    centres = rng.integers(2**64, size=1000, dtype=np.uint64)
    around = np.flatnonzero(rng.random(rows) < 0.1)
    bits = rng.integers(64, size=(len(around), 8), dtype=np.uint64)
    noise = np.bitwise_or.reduce(np.uint64(1) << bits, axis=1)
    found[around] = centres[rng.integers(1000, size=len(around))] ^ noise
    near = np.flatnonzero(rng.random(rows) < NEAR_SHARE)[1:]
    flipped = np.bitwise_or.reduce(np.uint64(1) << rng.integers(64, size=(len(near), 3), dtype=np.uint64), axis=1)
    found[near] = found[(near * rng.random(len(near))).astype(int)] ^ flipped
    return found


def make(folder: Path, rows: int, parts: int) -> tuple[list[Path], list[Path], int]:
    """Layouts and fingerprints of `parts` parts; and how many rows are copies."""
    rng = np.random.default_rng(7)
    every, content = hashes(rng, rows), rng.integers(2**62, size=(rows, 4))
    copies = np.flatnonzero(rng.random(rows) < COPIES)[1:]
    content[copies] = content[(copies * rng.random(len(copies))).astype(int)]
    sources, prints = [], []
    for part in range(parts):
        low, high = part * rows // parts, (part + 1) * rows // parts
        source, table = folder / "layouts" / f"{part}.jsonl", folder / "fingerprints" / f"{part}.parquet"
        for path in (source, table):
            path.parent.mkdir(parents=True, exist_ok=True)
        with open(source, "w", encoding="utf-8") as lines:
            for n in range(low, high):
                corners = rng.random((int(rng.integers(1, 7)), 4)) * 0.5
                objects = [
                    {"name": NAMES[int(rng.integers(len(NAMES)))], "bbox": [x, y, x + w + 0.1, y + h + 0.1]}
                    for x, y, w, h in corners.round(4).tolist()
                ]
                objects = [o | {"bbox": [min(round(v, 4), 1.0) for v in o["bbox"]]} for o in objects]
                row = {"caption": f"画面左边是{objects[0]['name']}，摄于{n}号展厅的秋日午后", "objects": objects}
                row |= {"image_path": f"images/{part}/{n:09d}.jpg", "id": f"{n:09d}", "url": f"http://example.org/{n}"}
                lines.write(json.dumps(row, ensure_ascii=False) + "\n")
        frame = {
            "image_path": [f"images/{part}/{n:09d}.jpg" for n in range(low, high)],
            "url": [f"http://example.org/{n}" for n in range(low, high)],
            "sha256": [words.astype(">u8").tobytes().hex() for words in content[low:high].view(np.uint64) * 4 + 1],
            "phash": every[low:high],
            "width": np.full(high - low, 640),
            "height": np.full(high - low, 480),
            "reason": [""] * (high - low),
        }
        pl.DataFrame(frame, schema=fingerprint.COLUMNS).write_parquet(table)
        sources.append(source)
        prints.append(table)
    return sources, prints, rows - len({words.tobytes() for words in content})


def measure(rows: int, parts: int) -> dict[str, float]:
    """Make and split a release; what it took."""
    config = from_dict({"sample": {"val": 64, "test": 500, "relations": 100}})
    with tempfile.TemporaryDirectory() as name:
        sources, prints, copies = make(Path(name), rows, parts)
        with Peak() as peak:
            began, used = time.perf_counter(), time.process_time()
            counts = split(config, parts_of(sources, prints), Path(name) / "split")
            seconds, cpu = time.perf_counter() - began, time.process_time() - used
    dropped = counts["rows_dropped"]
    if dropped[SAME_CONTENT] != copies or dropped[NEAR] < 0.9 * NEAR_SHARE * rows:
        sys.exit(f"{copies} copies were made: {dropped}")
    print(f"{rows:,} rows, {parts} parts: {seconds:.0f} s, {cpu:.0f} s of a core, {peak.mib:.0f} MiB at most")
    print(f"  {counts['sides']}, dropped {dropped}")
    return {"rows": rows, "parts": parts, "seconds": seconds, "cpu_seconds": cpu, "peak_mib": peak.mib}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--parts", type=int, default=64)
    parser.add_argument("--bar", type=float, default=BAR, help="MiB that are allowed; 0: any")
    parser.add_argument("--out", type=Path, help="JSON of the result")
    args = parser.parse_args()
    told = [measure(rows, args.parts) for rows in (args.rows // 10, args.rows)]
    each = (told[1]["peak_mib"] - told[0]["peak_mib"]) * 2**20 / (told[1]["rows"] - told[0]["rows"])
    print(f"{each:.0f} bytes a row")
    if args.out:
        args.out.write_text(json.dumps(told, indent=1), encoding="utf-8")
    if args.bar and told[1]["peak_mib"] > args.bar:
        sys.exit(f"{told[1]['peak_mib']:.0f} MiB are more than {args.bar:.0f}")


if __name__ == "__main__":
    main()
