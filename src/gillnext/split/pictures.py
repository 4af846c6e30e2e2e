"""What the split holds of every picture of a release: some 55 bytes, whatever its caption and boxes are.

Letters: N rows of all parts, in their order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import numpy as np
import polars as pl

from gillnext import layouts
from gillnext.boxes import is_number
from gillnext.layouts import Layout
from gillnext.runtime import files
from gillnext.runtime.errors import UserError
from gillnext.split import fingerprint
from gillnext.split.duplicates import groups

SAME_CONTENT, SAME_URL, NEAR = "same content", "same URL", "near-duplicate"
Scores = list[float | None]


@dataclass(frozen=True)
class Part:
    """A part of a release: its layouts, and the fingerprints of their pictures."""

    layouts: Path
    fingerprints: Path

    @property
    def name(self) -> str:
        return self.layouts.stem

    def rows(self) -> Iterator[tuple[Layout, Scores]]:
        """Every layout with a score a box, None where the annotator gave none."""
        for number, raw in files.numbered_jsonl(self.layouts):
            row = layouts.from_row(raw, f"{self.layouts}, line {number}")
            scores = [o.get("score") for o in raw["objects"]]
            yield row, [float(s) if is_number(s) else None for s in scores]

    def table(self) -> pl.DataFrame:
        """The fingerprints, a row a layout."""
        return fingerprint.read(self.fingerprints)

    def pairs(self, table: pl.DataFrame) -> Iterator[tuple[Layout, Scores]]:
        """`rows`, checked to be those of the fingerprints `table`."""
        paths, rows = table["image_path"], 0
        for layout, scores in self.rows():
            if rows == table.height or layout.image_path != paths[rows]:
                self._other()
            rows += 1
            yield layout, scores
        if rows < table.height:
            self._other()

    def _other(self) -> NoReturn:
        raise UserError(
            "is of other layouts", where=str(self.fingerprints),
            remedy=f"make it anew: gillnext fingerprint --layouts {self.layouts}",
        )  # fmt: skip


def parts_of(sources: Sequence[Path], fingerprints: Sequence[Path]) -> list[Part]:
    """Layouts and fingerprints of equal names; `UserError` where they are not paired.

    Numbered parts are in the order of their numbers, as `*.jsonl` of a shell does not give them; others as given.
    """
    names = [path.stem for path in sources]
    if names != [path.stem for path in fingerprints] or len(set(names)) != len(names):
        raise UserError(
            "layouts and fingerprints are not of the same parts, each once", where="--layouts, --fingerprints",
            remedy="name 0.jsonl 1.jsonl … and 0.parquet 1.parquet … in the same order",
        )  # fmt: skip
    parts = [Part(a, b) for a, b in zip(sources, fingerprints, strict=True)]
    numbered = all(name.isdecimal() for name in names)
    return sorted(parts, key=lambda part: int(part.name)) if numbered else parts


@dataclass
class Pictures:
    """Columns of all rows.

    `content_N2` are the first 16 bytes of the content's SHA-256 and `place_N` its last 8, a uniform number that sides
    hang on; `url_N` is a hash of the URL, 0 where there is none; `count_N` are good boxes. `reason_N` is 0 for rows
    that are kept, else the place of the reason in `reasons`.
    """

    offsets: list[int]
    content_N2: np.ndarray
    place_N: np.ndarray
    url_N: np.ndarray
    phash_N: np.ndarray
    size_N2: np.ndarray
    reason_N: np.ndarray
    count_N: np.ndarray
    reasons: list[str] = field(default_factory=lambda: [""])

    @property
    def good_N(self) -> np.ndarray:
        return self.reason_N == 0

    def code(self, reason: str) -> int:
        """The place of a reason in `reasons`, where it is put if it is new."""
        if reason not in self.reasons:
            self.reasons.append(reason)
        return self.reasons.index(reason)

    def drop(self, rows: np.ndarray, reason: str) -> None:
        """Give `rows` (places, or a mask) a reason to be left out."""
        self.reason_N[rows] = self.code(reason)

    def dropped(self) -> dict[str, int]:
        """How many rows are left out, by reason."""
        counts = Counter(dict(enumerate(np.bincount(self.reason_N, minlength=len(self.reasons)).tolist())))
        return {reason: counts[i] for i, reason in enumerate(self.reasons) if i and counts[i]}


def read(parts: Sequence[Part]) -> Pictures:
    """The columns of all parts' fingerprints."""
    tables: dict[str, list[np.ndarray]] = {name: [] for name in ("sha", "url", "phash", "size")}
    reasons, codes, offsets = [""], [], [0]
    for part in parts:
        table = part.table()
        sha = bytes.fromhex("".join(table["sha256"].replace("", "0" * 64).to_list()))
        tables["sha"].append(np.frombuffer(sha, dtype=">u8").reshape(-1, 4).astype(np.uint64))
        hashed = pl.when(pl.col("url") == "").then(0).otherwise(pl.col("url").hash())
        tables["url"].append(table.select(hashed.cast(pl.UInt64)).to_series().to_numpy())
        tables["phash"].append(table["phash"].to_numpy())
        tables["size"].append(table.select("width", "height").to_numpy().astype(np.uint32))
        reasons += [r for r in table["reason"].unique(maintain_order=True).to_list() if r not in reasons]
        known = {reason: i for i, reason in enumerate(reasons)}
        codes.append(table["reason"].replace_strict(known, return_dtype=pl.UInt8).to_numpy())
        offsets.append(offsets[-1] + table.height)
    if not offsets[-1]:
        raise UserError(
            "there is not one layout in any part", where=", ".join(str(part.layouts) for part in parts[:3]),
            remedy="look at the counts in filtered/, index/ and layouts/: links may be dead, or the filter too strict",
        )  # fmt: skip
    sha_N4 = np.concatenate(tables["sha"])
    content_N2, place_N = np.ascontiguousarray(sha_N4[:, :2]), np.ascontiguousarray(sha_N4[:, 3])
    url_N, phash_N, size_N2 = (np.concatenate(tables[name]) for name in ("url", "phash", "size"))
    reason_N = np.concatenate(codes).astype(np.uint8)
    counts = np.zeros(offsets[-1], dtype=np.uint16)
    found = Pictures(offsets, content_N2, place_N, url_N, phash_N, size_N2, reason_N, counts, reasons)
    if not found.good_N.any():
        raise UserError(
            f"not one of {offsets[-1]} pictures is left: {found.dropped()}", where=str(parts[0].fingerprints),
            remedy="put the pictures back where the layouts name them and run `gillnext fingerprint` again, or "
            "download and annotate anew",
        )  # fmt: skip
    return found


def drop_copies(pictures: Pictures) -> None:
    """Of rows with the same content or the same URL, keep the first."""
    for reason, columns in ((SAME_CONTENT, pictures.content_N2), (SAME_URL, pictures.url_N[:, None])):
        rows = np.flatnonzero(pictures.good_N & (columns != 0).any(1))
        pictures.drop(rows[~_first(columns[rows])], reason)


def _first(rows_NC: np.ndarray) -> np.ndarray:
    """(N,) bool: the rows that are equal to no earlier one."""
    order = np.lexsort(rows_NC.T)  # stable: of equal rows the earlier comes first
    new, first = np.ones(len(order), dtype=bool), np.zeros(len(order), dtype=bool)
    new[1:] = (rows_NC[order[1:]] != rows_NC[order[:-1]]).any(1)
    first[order[new]] = True
    return first


def drop_near(pictures: Pictures, most: int) -> None:
    """Of near-duplicates keep the first: a row goes that any earlier one is near to."""
    rows = np.flatnonzero(pictures.good_N)
    pictures.drop(rows[~groups(pictures.phash_N[rows], most).first_N], NEAR)
