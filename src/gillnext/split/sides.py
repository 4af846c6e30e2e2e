"""Which side a picture is on: train, validation, test, held-out relations, or the reference of distances.

The side hangs on the content of the picture alone: the last 8 bytes of its SHA-256 are a number in [0, 1), and each
held-out set has a stretch of it. A set takes the first pictures of its stretch, in the order of the rows, and the rest
of the stretch is spare, trained on by nobody: so that a picture keeps its side when shards are added behind the others.

Letters: N rows of all parts, in their order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gillnext.config import Config
from gillnext.config.split import Split
from gillnext.runtime.errors import UserError
from gillnext.split.duplicates import groups
from gillnext.split.pictures import Pictures

SIDES = ("train", "val", "test", "relations", "reference")
TRAIN, VAL, TEST, RELATIONS, REFERENCE = range(5)
NOWHERE = -1
HELD_OUT = {VAL: 0.0, TEST: 0.25, RELATIONS: 0.5, REFERENCE: 0.75}  # where each set's stretch begins
BETWEEN = "near pictures of two sides"
UNNAMED, UNSTATED = "not in the manifest", "no relation that the boxes agree with"


@dataclass(frozen=True)
class Sides:
    """(N,) side of each row, `NOWHERE` of those left out and spare; `spare` rows by side."""

    side_N: np.ndarray
    spare: dict[str, int]

    def count(self) -> dict[str, int]:
        """Rows by side."""
        return {name: int((self.side_N == side).sum()) for side, name in enumerate(SIDES)}


def check(settings: Split) -> None:
    """Refuse stretches that would run into each other."""
    for side in HELD_OUT:
        if getattr(settings, SIDES[side]) > 0.25:
            raise UserError("is more than a quarter", where=f"split.{SIDES[side]}", remedy="give 0.25 or less")


def stretches(place_N: np.ndarray, settings: Split) -> np.ndarray:
    """(N,) the side whose stretch a content's number (uint64) lies in."""
    share_N = place_N.astype(np.float64) / 2.0**64
    side_N = np.full(len(place_N), TRAIN, dtype=np.int8)
    for side, start in HELD_OUT.items():
        side_N[(share_N >= start) & (share_N < start + getattr(settings, SIDES[side]))] = side
    return side_N


def together(pictures: Pictures, settings: Split) -> np.ndarray:
    """(N,) the stretch of the row that each row's group of near-duplicates began with.

    Rows that are near to an earlier one of another side are left out, so that what has a side keeps it.
    """
    side_N = stretches(pictures.place_N, settings)
    if settings.near is None or settings.duplicates == "first":
        return side_N
    rows = np.flatnonzero(pictures.good_N)
    near = groups(pictures.phash_N[rows], settings.near)
    side_N[rows] = side_N[rows][near.head_N]
    pictures.drop(rows[near.between(side_N[rows])], BETWEEN)
    return side_N


def by_hash(pictures: Pictures, side_N: np.ndarray, states_N: np.ndarray, config: Config) -> Sides:
    """The sides of `together`, with as many held-out rows as the settings ask for.

    `states_N` tells that a row's caption states relations and its boxes agree. What states none in the stretch of
    relations is trained on; where near-duplicates stay together, it is spare.
    """
    side_N, spare = np.where(pictures.good_N, side_N, NOWHERE).astype(np.int8), {}
    silent_N = (side_N == RELATIONS) & ~states_N
    side_N[silent_N] = TRAIN if config.split.duplicates == "first" or config.split.near is None else NOWHERE
    sizes = {VAL: config.sample.val, TEST: config.sample.test, RELATIONS: config.sample.relations}
    sizes[REFERENCE] = config.sample.test
    for side, size in sizes.items():
        rows = np.flatnonzero(side_N == side)
        side_N[rows[size:]] = NOWHERE
        spare[SIDES[side]] = len(rows[size:])
    return Sides(side_N, spare)


def by_manifest(pictures: Pictures, side_N: np.ndarray, states_N: np.ndarray) -> Sides:
    """Sides as a manifest names them; held-out relations whose boxes agree no longer are left out."""
    pictures.drop(pictures.good_N & (side_N == RELATIONS) & ~states_N, UNSTATED)
    return Sides(np.where(pictures.good_N, side_N, NOWHERE).astype(np.int8), {})


def check_full(sides: Sides, config: Config, pictures: Pictures, where: str) -> None:
    """Refuse a split with an empty side, and one without the validation layouts that the curve's points need."""
    counts = sides.count()
    asked = {"train": 1, "val": config.sample.val, "test": config.sample.test, "reference": config.sample.test}
    asked["relations"] = config.sample.relations
    for name, wanted in asked.items():
        if wanted and not counts[name]:
            remedies = {
                "train": "take more shards, or loosen the settings of split",
                "relations": "raise split.relations, take more shards, or set sample.relations to 0; "
                "only captions whose relation is understood and whose boxes agree are taken",
            }
            remedy = remedies.get(name, f"raise split.{name}, take more shards, or set sample.{name} to 0")
            raise UserError(
                f"the side {name!r} is empty: {counts}, of {len(pictures.reason_N)} rows dropped: {pictures.dropped()}",
                where=where, remedy=remedy,
            )  # fmt: skip
    if counts["val"] < config.curve.images:
        raise UserError(
            f"{counts['val']} validation layouts are fewer than curve.images, {config.curve.images}", where=where,
            remedy="raise split.val, take more shards, or lower curve.images",
        )  # fmt: skip
