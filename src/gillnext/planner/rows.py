"""The layouts that a planner is trained on. Where their lines lie in the files is kept, 12 bytes a row, and a line is
read when its turn comes: a million layouts take no more memory than this index.

    found = Rows(paths, settings)
    example = found[17]
"""

from __future__ import annotations

import itertools
import json
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from gillnext import layouts
from gillnext.config.model import Planner as Settings
from gillnext.layouts import Layout
from gillnext.planner import format as plan_format
from gillnext.planner.decode import nouns_in
from gillnext.planner.format import ordered
from gillnext.runtime import files


class Lines:
    """The layouts of JSONL files that `keep` wants, by number; every row is checked, and the first bad one told."""

    def __init__(self, paths: Sequence[Path], keep: Callable[[Layout], bool]) -> None:
        self.paths, self.file, self.offset = list(paths), array("i"), array("q")
        for which, path in enumerate(self.paths):
            for offset, layout in _lines(path):
                if keep(layout):
                    self.file.append(which)
                    self.offset.append(offset)

    def of(self, chosen: Iterable[int]) -> Lines:
        """The chosen ones of these, by number."""
        some = Lines([], bool)
        some.paths = self.paths
        for i in chosen:
            some.file.append(self.file[i])
            some.offset.append(self.offset[i])
        return some

    def __len__(self) -> int:
        return len(self.offset)

    def __getitem__(self, index: int) -> Layout:
        path = self.paths[self.file[index]]
        with open(path, "rb") as lines:
            lines.seek(self.offset[index])
            return layouts.from_row(json.loads(lines.readline().decode("utf-8-sig")), str(path))


def _lines(path: Path) -> Iterator[tuple[int, Layout]]:
    """Where each line that is not blank begins, in bytes, and its layout."""
    begins, passed, offset = _beginnings(path), 0, 0
    for number, row in files.numbered_jsonl(path):
        while passed < number:
            offset, passed = next(begins), passed + 1
        yield offset, layouts.from_row(row, f"{path}, line {number}")


def _beginnings(path: Path) -> Iterator[int]:
    with open(path, "rb") as lines:
        yield from itertools.accumulate(map(len, lines), initial=0)


def largest(layout: Layout, most: int) -> Layout:
    """The layout with its `most` largest boxes, in the order in which they stand."""
    areas = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in layout.boxes]
    rows = sorted(sorted(range(len(areas)), key=lambda i: -areas[i])[:most])
    return Layout(layout.caption, tuple(layout.names[i] for i in rows), tuple(layout.boxes[i] for i in rows), layout.id)


def named(layout: Layout) -> Layout:
    """The layout with the objects alone whose names a plan can write."""
    rows = [(n, b) for n, b in zip(layout.names, layout.boxes, strict=True) if plan_format.is_name(n)]
    return Layout(layout.caption, tuple(n for n, _ in rows), tuple(b for _, b in rows), layout.id)


class Example(NamedTuple):
    """A layout to train on, its objects in the order of mention, and what it lacks: known nouns of its caption
    (`missing`), and objects whose names no plan can write (not `complete`).
    """

    layout: Layout
    missing: tuple[str, ...]
    complete: bool


class Rows:
    """Layouts fit for training. A row with `"complete": true` lacks nothing: what else its caption names is not there.

    `nouns`: what they name most often; `unlisted`: whether they name others as well; `counts`: rows left out or
    changed, by reason.
    """

    def __init__(self, paths: Sequence[Path], settings: Settings) -> None:
        self.settings = settings
        names, counts = Counter[str](), Counter[str]()

        def seen(layout: Layout) -> bool:
            counts.update(["layouts"] if layout.names else ["layouts", "no_objects"])
            names.update(filter(plan_format.is_name, layout.names))
            return bool(layout.names)

        every = Lines(paths, seen)
        self.nouns = sorted(sorted(names, key=lambda name: (-names[name], name))[: settings.nouns])
        self.unlisted = len(names) > len(self.nouns)

        def fit(layout: Layout) -> bool:
            reasons, used = self._judged(layout)
            counts.update(reasons)
            return used

        self.lines = every.of(i for i in range(len(every)) if fit(every[i]))
        self.counts = {"layouts": 0, "used": len(self), **counts}

    def __len__(self) -> int:
        return len(self.lines)

    def __getitem__(self, index: int) -> Example:
        return self.example(self.lines[index])

    def example(self, layout: Layout) -> Example:
        """What is trained on of a row."""
        fit = named(layout)
        cut = largest(fit, self.settings.boxes) if len(fit.names) > self.settings.boxes else fit
        known = fit.names if layout.extra.get("complete") is True else nouns_in(cut.caption, self.nouns)
        missing = tuple(noun for noun in known if noun not in cut.names)
        return Example(ordered(cut), missing, len(fit.names) == len(layout.names))

    def _judged(self, layout: Layout) -> tuple[list[str], bool]:
        """What is counted of a row, and whether it is used."""
        example, keep = self.example(layout), self.settings.incomplete == "keep"
        if not example.layout.names or not (example.complete or keep):
            return ["long_name"], False
        if example.missing and not keep:
            return ["object_missing"], False
        found = ["objects_cut"] if len(named(layout).names) > self.settings.boxes else []
        return [*found, *(["incomplete"] if example.missing or not example.complete else [])], True
