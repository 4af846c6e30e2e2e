"""A contact sheet of annotated images for a person to scroll through: one HTML file, nothing fetched.

    gillnext review --layouts results/demo/layouts/*.jsonl --out review.html --count 200
    gillnext review --layouts results/demo/layouts/*.jsonl --out labels.html --label --sample 300
    gillnext review --layouts results/demo/layouts/*.jsonl --score labels.csv --out quality.json

The images are drawn at random with a seed from all layouts, so that what is seen speaks for the whole; each stands with
its caption, its boxes and their names. Layouts are read once, and those alone are kept that the page shows. `--worst`
shows those with the smallest boxes first instead. With `--label` the boxes can be corrected on the page (`labelling`),
which downloads them as a CSV (`labels`); `--score` compares the annotation with it (`agreement`).
"""

from __future__ import annotations

import argparse
import hashlib
import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment

from gillnext import layouts
from gillnext.annotate import agreement, labelling
from gillnext.annotate.thumbnails import picture_of, thumbnail
from gillnext.config.arguments import add_out
from gillnext.layouts import Layout
from gillnext.overlay import COLOURS
from gillnext.runtime import files, provenance
from gillnext.runtime.errors import UserError

SIDE = 256  # pixels of a thumbnail's longer side

PAGE = """<!DOCTYPE html>
<html lang="zh"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Review: {{ items|length }} of {{ total }} images</title><style>
body { font: 14px/1.5 "Noto Sans CJK SC", sans-serif; color: #222; margin: 1.5rem auto; max-width: 82rem;
  padding: 0 1rem }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: 1.2rem }
figure { margin: 0 } figcaption { margin-top: .3rem }
.picture { position: relative; line-height: 0 } .picture img { width: 100% }
svg { position: absolute; inset: 0; width: 100%; height: 100% }
rect { fill: none; stroke-width: 2; vector-effect: non-scaling-stroke }
li { list-style: none; display: inline-block; margin-right: .6rem } ul { margin: 0; padding: 0; font-size: 12px }
small { color: #767676; overflow-wrap: anywhere }
</style></head><body>
<h1>Review</h1>
<p>{{ items|length }} of {{ total }} annotated images ({{ objects }} boxes in all), {{ order }}.</p>
<main>{% for item in items %}
<figure id="{{ item.id }}"><div class="picture"><img alt="" src="{{ item.image }}" loading="lazy">
<svg viewBox="0 0 1 1" preserveAspectRatio="none">{% for o in item.objects %}
<rect x="{{ o.x }}" y="{{ o.y }}" width="{{ o.w }}" height="{{ o.h }}" stroke="{{ o.colour }}"
><title>{{ o.name }}</title></rect>{% endfor %}
</svg></div><figcaption>{{ item.caption }}<ul>{% for o in item.objects %}
<li style="color:{{ o.colour }}">{{ o.name }}</li>
{% endfor %}</ul><small>{{ item.path }}</small></figcaption></figure>{% endfor %}
</main></body></html>
"""


def chosen(rows: Iterable[Layout], count: int, seed: int, worst: bool) -> list[Layout]:
    """`count` rows: at random, or those with the smallest boxes first; `rows` are read once and no others kept.

    At random: the smallest hashes of seed, image and id. Which rows these are hangs on no order and no part, and a row
    more takes the place of one at most.
    """

    def key(row: Layout) -> bytes | float:
        if worst:
            return min((_area(box) for box in row.boxes), default=0.0)
        return hashlib.sha256(f"{seed}\t{row.image_path}\t{row.id}".encode()).digest()

    return heapq.nsmallest(count, rows, key)


def _area(box: Sequence[float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def item(row: Layout, images: Path | None) -> dict[str, Any]:
    """What the page tells of one image."""
    path = picture_of(row, images)
    objects = [
        {"name": name, "x": x1, "y": y1, "w": x2 - x1, "h": y2 - y1, "colour": COLOURS[i % len(COLOURS)]}
        for i, (name, (x1, y1, x2, y2)) in enumerate(zip(row.names, row.boxes, strict=True))
    ]
    entry = {"id": row.id, "caption": row.caption, "path": row.image_path}
    return entry | {"image": thumbnail(path, SIDE), "objects": objects}


def review(
    sources: Sequence[Path],
    images: Path | None,
    out: Path,
    count: int,
    seed: int,
    worst: bool,
    label: bool = False,
) -> int:
    """Write the page, to `label` on or to look at; returns how many images it shows."""
    totals = Counter[str]()

    def rows() -> Iterator[Layout]:
        for row in (row for source in sources for row in layouts.stream(source)):
            totals.update(images=1, boxes=len(row.names))
            yield row

    picked = chosen(rows(), count, seed, worst)
    if not totals["images"]:
        raise UserError("no layouts", where=", ".join(map(str, sources)), remedy="run `gillnext annotate` first")
    if label:
        return labelling.write(picked, images, out)
    page = Environment(autoescape=True).from_string(PAGE)
    order = "the smallest boxes first" if worst else f"drawn at random with seed {seed}"
    items = [item(row, images) for row in picked]
    files.write_text(out, page.render(items=items, total=totals["images"], objects=totals["boxes"], order=order))
    return len(picked)


def score(sources: Sequence[Path], table: Path, out: Path) -> dict[str, Any]:
    """Write and return how well the layouts' boxes agree with those of a CSV of drawn ones."""
    report = agreement.compare(sources, table)
    report |= {"name": "labels", "hashes": {"labels": files.sha256(table)}, "provenance": provenance.stamp()}
    files.write_json(out, report)
    return report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--layouts", type=Path, nargs="+", required=True, metavar="JSONL", help="of `gillnext annotate`"
    )
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="what relative image paths start from")
    parser.add_argument(
        "--count", "--sample", type=int, default=200, metavar="N", help="images on the page (default: 200)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the drawing (default: 0)")
    parser.add_argument("--worst", action="store_true", help="the smallest boxes first, instead of a random choice")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--label", action="store_true", help="a page to correct boxes on, and a CSV to fill in beside it")
    what.add_argument("--score", type=Path, metavar="CSV", help="compare the layouts with a CSV of drawn boxes instead")
    add_out(parser, "the HTML page, or the JSON of the scores")


def main(args: argparse.Namespace) -> None:
    if args.score:
        report = score(args.layouts, args.score, args.out)
        for name, value in report["metrics"].items():
            low, high = report["intervals"].get(name, (None, None))
            print(f"{name}: " + ("no box" if value is None else f"{value:.3f} [{low:.3f}, {high:.3f}]"))
        print(f"{args.out}: {report['n']} images, {report['boxes']['drawn']} drawn boxes")
        return
    shown = review(args.layouts, args.images, args.out, args.count, args.seed, args.worst, args.label)
    print(f"{args.out}: {shown} images")
