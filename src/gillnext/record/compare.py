"""Compares the records of two runs number by number, and prints the largest difference of every metric.

    gillnext compare results/demo results/demo-container

Tables, claims and figures are made of these numbers. A difference is |a − b| / max(1, |a|, |b|): absolute for shares
and IoUs, relative for what is larger. Ends with status 2 where one is beyond the tolerance, or a number of one run
lacks in the other."""

from __future__ import annotations

import argparse
from pathlib import Path

import polars as pl

from gillnext.record.results import there
from gillnext.runtime.errors import UserError

# Table of the record -> what names a number in it, the metric first.
KEYS = {
    "scores.parquet": ("metric", "instrument", "arm", "seed", "split", "by", "at"),
    "curves.parquet": ("series", "arm", "seed", "step"),
}


def numbers(root: Path) -> pl.DataFrame:
    """(metric, place, value) of every number in a run's record; a place is all that names it."""
    found = []
    for name, keys in KEYS.items():
        place = pl.concat_str([pl.col(key).cast(pl.String).fill_null("") for key in keys], separator="/")
        found.append(pl.read_parquet(there(root / name)).select(metric=keys[0], place=place, value="value"))
    return pl.concat(found)


def differences(a: Path, b: Path) -> pl.DataFrame:
    """(metric, place, difference) of every number of two runs; `UserError` where one has a number that the other
    lacks.
    """
    ours, theirs = numbers(a), numbers(b)
    for root, have, want in ((a, ours, theirs), (b, theirs, ours)):
        lacking = want.join(have, on="place", how="anti")
        if lacking.height:
            what = f"{lacking.height} numbers of the other run are not here, first {lacking['place'][0]!r}"
            raise UserError(what, where=str(root), remedy="compare runs of the same settings")
    x, y = pl.col("value"), pl.col("value_right")
    far = (x - y).abs() / pl.max_horizontal(1.0, x.abs(), y.abs())
    # Polars takes NaN for equal to NaN.
    measured = pl.when(x == y).then(0.0).when(far.is_finite()).then(far).otherwise(float("inf"))
    return ours.join(theirs, on="place", maintain_order="left").select("metric", "place", difference=measured)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("a", type=Path, help="results folder of one run, as results/demo")
    parser.add_argument("b", type=Path, help="of the other, as results/demo-container")
    parser.add_argument("--tolerance", type=float, default=1e-4, help="largest difference that passes (default 1e-4)")


def main(args: argparse.Namespace) -> None:
    found = differences(args.a, args.b)
    largest = pl.col("difference").max()
    differing = (pl.col("difference") > 0).sum().alias("differing")
    by_metric = found.group_by("metric", maintain_order=True).agg(pl.len(), differing, largest)
    for metric, count, differ, most in by_metric.iter_rows():
        print(f"{metric:<32} {count:>7,} values, {differ:>6,} differ, largest difference {most:.1e}")
    worst = found.row(int(found["difference"].arg_max() or 0), named=True)
    print(f"{'all':<32} {found.height:>7,} values, largest difference {worst['difference']:.1e}")
    if worst["difference"] > args.tolerance:
        what = f"differs by {worst['difference']:.1e}, more than {args.tolerance:g}"
        raise UserError(what, where=worst["place"])
