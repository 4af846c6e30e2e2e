"""Split a release's layouts into training and held-out sets.

    gillnext split --config config.yaml --layouts results/wukong/layouts/*.jsonl \\
        --fingerprints results/wukong/fingerprints/*.parquet --out results/wukong/split

Of all parts together: boxes at fault are left out, then copies of a picture (content, URL) and near-duplicates; sides
are by hash of the content (`sides`), or as the manifest of another split tells (--manifest). The folder holds
train/PART.jsonl, val.jsonl, test.jsonl and reference.jsonl (people's captions), named.jsonl (the test boxes, captions
that name the objects alone), relations.jsonl (with what the captions state), prior.safetensors (the chance level),
names.txt (all names, the most frequent first), manifest.parquet and counts.json: every row and box that was left out,
by reason.

The memory is some 55 bytes a row and what one part's fingerprints take. The folder appears whole; a killed run begins
anew.

Letters: N rows of all parts, in their order.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from gillnext import layouts
from gillnext.config import Config
from gillnext.config.arguments import add_config, add_out
from gillnext.config.arguments import config as read_config
from gillnext.config.split import Split
from gillnext.filter.lexicon import Lexicon, lexicon_file, read_lexicon
from gillnext.layouts import Layout
from gillnext.runtime import files
from gillnext.runtime.errors import UserError
from gillnext.runtime.progress import Progress
from gillnext.split import duplicates, manifest, naming, prior, quality, sides
from gillnext.split import pictures as pictures_
from gillnext.split.pictures import Part, Pictures, parts_of
from gillnext.split.relations import Grammar, agreed
from gillnext.split.sides import RELATIONS, SIDES, TEST, TRAIN, Sides


@dataclass
class Found:
    """What the first look finds beside what `Pictures` holds: rows that state relations, and faults of boxes."""

    states_N: np.ndarray
    faults: Counter[str] = field(default_factory=Counter)


def judge(parts: Sequence[Part], pictures: Pictures, asked_N: np.ndarray, config: Config, grammar: Grammar) -> Found:
    """Look at all layouts once: drop what has no good boxes, count boxes, read the relations of rows `asked_N`."""
    found = Found(np.zeros(len(pictures.reason_N), dtype=bool))
    with Progress("split: boxes", len(pictures.reason_N), "rows") as progress:
        for part, offset in zip(parts, pictures.offsets, strict=False):
            for n, (layout, scores) in enumerate(part.pairs(part.table()), offset):
                progress.step()
                if pictures.reason_N[n]:
                    continue
                seen = quality.judge(layout, scores, _size(pictures, n), config.split)
                found.faults.update(seen.faults)
                pictures.count_N[n] = len(seen.kept)
                if seen.reason:
                    pictures.drop(np.array([n]), seen.reason)
                elif asked_N[n] and not seen.faults:
                    found.states_N[n] = bool(agreed(layout, grammar))
    if not pictures.good_N.any():
        raise UserError(
            f"not one of {len(pictures.reason_N)} layouts is left: {pictures.dropped()}", where=str(parts[0].layouts),
            remedy="loosen the settings of split, or look at the annotator's boxes: gillnext review",
        )  # fmt: skip
    return found


def _size(pictures: Pictures, row: int) -> tuple[int, int]:
    width, height = pictures.size_N2[row]
    return int(width), int(height)


@dataclass
class Written:
    """What is gathered while the sides are written: held-out layouts by side, names, and the boxes of the prior."""

    held_out: dict[int, list[Layout]] = field(default_factory=lambda: {side: [] for side in sides.HELD_OUT})
    names: Counter[str] = field(default_factory=Counter)
    boxes: dict[int, np.ndarray] = field(default_factory=dict)


def write(
    parts: Sequence[Part], pictures: Pictures, of: Sides, settings: Split, needed: set[int], out: Path
) -> Written:
    """Write train/PART.jsonl and the manifest into `out`, and keep the boxes of rows `needed`: the second look."""
    written, listed = Written(), manifest.Writer(out / "manifest")
    with Progress("split: rows", len(pictures.reason_N), "rows") as progress:
        for part, offset in zip(parts, pictures.offsets, strict=False):
            table = part.table()
            side = of.side_N[offset : offset + table.height]
            listed.add(table, side)
            rows = _training(part, table, pictures, offset, side, settings, written, needed)
            files.write_jsonl(out / "train" / f"{part.name}.jsonl", rows)
            progress.step(table.height)
    listed.finish(out / "manifest.parquet")
    return written


def _training(
    part: Part,
    table: pl.DataFrame,
    pictures: Pictures,
    offset: int,
    sides_n: np.ndarray,
    settings: Split,
    written: Written,
    needed: set[int],
) -> Iterator[dict[str, Any]]:
    """The training rows of a part; the held-out ones, and what is told of both, go to `written`."""
    contents = table["sha256"]
    for place, (layout, scores) in enumerate(part.pairs(table)):
        side = int(sides_n[place])
        if side == sides.NOWHERE:
            continue
        width, height = size = _size(pictures, offset + place)
        good = quality.only(layout, quality.judge(layout, scores, size, settings))
        about = {"sha256": contents[place], "width": width, "height": height}
        good = replace(good, extra=layout.extra | about)
        written.names.update(good.names)
        if side != TRAIN:
            written.held_out[side].append(good)
            continue
        if offset + place in needed:
            written.boxes[offset + place] = np.array(good.boxes)
        yield good.to_row()


def write_held_out(written: Written, grammar: Grammar, lexicon: Lexicon, out: Path) -> None:
    """Write the held-out sets: as they are, the test set with naming captions, the relations with what is stated."""
    for side in sides.HELD_OUT:
        rows = written.held_out[side]
        if side == RELATIONS:
            rows = [
                replace(row, extra=row.extra | {"relations": [list(stated) for stated in agreed(row, grammar)]})
                for row in rows
            ]
        layouts.write(out / f"{SIDES[side]}.jsonl", rows)
    named = (replace(row, caption=naming.caption(row.names, lexicon)) for row in written.held_out[TEST])
    layouts.write(out / "named.jsonl", named)


def sided(
    parts: Sequence[Part], pictures: Pictures, config: Config, grammar: Grammar, given: Path | None, where: str
) -> tuple[Sides, dict[str, Any]]:
    """Drop what is at fault or a copy, and give the rest a side; with counts of boxes at fault and of the manifest."""
    settings, counts = config.split, dict[str, Any]()
    if given:
        named = manifest.sides_of(given, pictures)
        counts["manifest"] = named.counts
        pictures.drop(pictures.good_N & (named.side_N == sides.NOWHERE), sides.UNNAMED)
        found = judge(parts, pictures, named.side_N == RELATIONS, config, grammar)
        pictures_.drop_copies(pictures)
        of = sides.by_manifest(pictures, named.side_N, found.states_N)
    else:
        grouped = settings.duplicates == "group" and settings.near is not None
        asked_N = (sides.stretches(pictures.place_N, settings) == RELATIONS) | grouped
        found = judge(parts, pictures, asked_N, config, grammar)
        pictures_.drop_copies(pictures)
        if settings.near is not None and not grouped:
            pictures_.drop_near(pictures, settings.near)
        of = sides.by_hash(pictures, sides.together(pictures, settings), found.states_N, config)
    sides.check_full(of, config, pictures, where)
    return of, counts | {"boxes_dropped": dict(sorted(found.faults.items()))}


def split(config: Config, parts: Sequence[Part], out: Path, given: Path | None = None) -> dict[str, Any]:
    """Split the layouts of `parts` into the folder `out`; `given`: a manifest that names the sides. Returns counts."""
    duplicates.check(config.split.near)
    sides.check(config.split)
    lexicon = read_lexicon(lexicon_file(config.filter.lexicon))
    grammar = Grammar(lexicon)
    pictures = pictures_.read(parts)
    of, counts = sided(parts, pictures, config, grammar, given, str(out))
    number = of.count()
    trained_N = np.where(of.side_N == TRAIN, pictures.count_N, 0)
    asked = pictures.count_N[of.side_N > TRAIN].tolist()
    drawn = prior.draw(trained_N, max(number["val"], number["test"]), max(asked, default=1), config.run.seed)
    slots = config.adapter.slots
    counts |= {
        "rows": len(pictures.reason_N),
        "rows_dropped": pictures.dropped(),
        "sides": number,
        "spare": of.spare,
        "boxes": {name: int(pictures.count_N[of.side_N == i].sum()) for i, name in enumerate(SIDES)},
        "slots": slots,
        "train_over_slots": int((trained_N > slots).sum()),
        "prior_nearest": drawn.instead(asked),
    }
    with files.atomic(out) as temporary:
        temporary.mkdir()
        written = write(parts, pictures, of, config.split, drawn.rows, temporary)
        write_held_out(written, grammar, lexicon, temporary)
        prior.save(temporary / "prior.safetensors", drawn.boxes(written.boxes))
        order = sorted(written.names, key=lambda name: (-written.names[name], name))
        files.write_text(temporary / "names.txt", "".join(f"{name}\n" for name in order))
        counts["names"] = len(order)
        files.write_json(temporary / "counts.json", counts)
    return counts


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument(
        "--layouts", type=Path, nargs="+", required=True, metavar="JSONL", help="of every part, in the release's order"
    )
    parser.add_argument(
        "--fingerprints", type=Path, nargs="+", required=True, metavar="PARQUET", help="of the same parts"
    )
    parser.add_argument(
        "--manifest", type=Path, metavar="FILE", help="take the sides from it (default: split.manifest, or none)"
    )
    add_out(parser, "folder of the sets")


def main(args: argparse.Namespace) -> None:
    config = read_config(args)
    given = args.manifest or (Path(config.split.manifest) if config.split.manifest else None)
    counts = split(config, parts_of(args.layouts, args.fingerprints), args.out, given)
    print(f"split: {counts['rows']} rows: {counts['sides']}, spare {counts['spare']}")
    print(f"split: rows dropped: {counts['rows_dropped']}; boxes dropped: {counts['boxes_dropped']}")
    print(f"split: {counts['train_over_slots']} training rows have more than {counts['slots']} boxes")
    if "manifest" in counts:
        print(f"split: of the manifest: {counts['manifest']}")
    if counts["prior_nearest"]:
        print(f"split: chance level: boxes asked for, and those of the nearest layouts: {counts['prior_nearest']}")
