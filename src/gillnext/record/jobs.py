"""The jobs of a run: from Snakemake's benchmark files, one a job, `{rule}/{wildcards}.tsv`, a record a repetition; or,
of a kept run, from `jobs.parquet`.

A file is written when its job ends, so its modification time minus the job's seconds is the job's start.
From these intervals come the time in which anything ran (resumed runs count only their work) and the peak
of memory over jobs that ran together."""

from __future__ import annotations

import csv
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from gillnext.runtime import files
from gillnext.runtime.errors import UserError

NAME = "jobs.parquet"
LATER = {"cost", "paper", "hashes", "verify", "html", "supplement"}  # rules whose jobs end after the cost table is made


@dataclass(frozen=True)
class Job:
    """One job: seconds of wall clock and CPU, peak resident MiB (None where it was too short to be
    sampled).
    """

    rule: str
    seconds: float
    cpu_seconds: float | None
    peak_mib: float | None
    end: float

    @property
    def start(self) -> float:
        return self.end - self.seconds


SCHEMA = {
    "rule": pl.String, "seconds": pl.Float64, "cpu_seconds": pl.Float64, "peak_mib": pl.Float64, "end": pl.Float64,
}  # fmt: skip


def _float(value: Any) -> float | None:
    return None if value in (None, "NA", "-", "") else float(value)


def _job(path: Path, rule: str) -> Job:
    try:
        with open(path, encoding="utf-8", newline="") as lines:
            found = csv.DictReader(lines, delimiter="\t")
            records = [(_float(r["s"]), _float(r["max_rss"]), _float(r.get("cpu_time"))) for r in found]
    except (KeyError, ValueError, TypeError) as error:
        what, remedy = f"not a benchmark file of Snakemake: {error!r}", "delete it and run the workflow again"
        raise UserError(what, where=str(path), remedy=remedy) from error
    if not records:
        raise UserError("no record in it", where=str(path), remedy="delete it and run the workflow again")
    peaks = [peak for _, peak, _ in records if peak is not None]
    cpu = [c for _, _, c in records if c is not None]
    seconds = sum(s or 0.0 for s, _, _ in records)
    return Job(rule, seconds, sum(cpu) if cpu else None, max(peaks, default=None), path.stat().st_mtime)


def of_benchmarks(folder: Path) -> list[Job]:
    """The jobs whose benchmark files lie under `folder`; raises `UserError` where there are none."""
    paths = sorted(folder.rglob("*.tsv"))
    if not paths:
        raise UserError("no benchmark files", where=str(folder), remedy="run the workflow: its rules write them")
    return [_job(path, _rule(path.relative_to(folder))) for path in paths]


def write(jobs: list[Job], path: Path) -> None:
    """Keep jobs as a table."""
    with files.atomic(path) as temporary:
        pl.DataFrame([asdict(job) for job in jobs], schema=SCHEMA).write_parquet(temporary)


def read(place: Path) -> list[Job]:
    """The jobs up to the cost table, of a folder of benchmark files or a kept table, by the first end of their rule."""
    place = Path(place)
    if place.is_dir() or not place.exists():
        jobs = [job for job in of_benchmarks(place) if job.rule not in LATER]
    else:
        jobs = [Job(**row) for row in pl.read_parquet(place).iter_rows(named=True)]
    first: dict[str, float] = {}
    for job in jobs:
        first[job.rule] = min(job.end, first.get(job.rule, job.end))
    return sorted(jobs, key=lambda j: (first[j.rule], j.rule, j.end))


def _rule(relative: Path) -> str:
    """`{rule}/….tsv`, or `{rule}.tsv` for a rule without wildcards."""
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def busy_seconds(jobs: list[Job]) -> float:
    """The length of the union of the jobs' intervals: time in which at least one job ran."""
    total, reach = 0.0, float("-inf")
    for job in sorted(jobs, key=lambda j: j.start):
        total += max(0.0, job.end - max(job.start, reach))
        reach = max(reach, job.end)
    return total


def peak_mib(jobs: list[Job]) -> float:
    """The largest sum of peaks of jobs that ran at the same time: an upper bound of the run's peak memory."""
    events = [(job.start, job.peak_mib or 0.0) for job in jobs] + [(job.end, -(job.peak_mib or 0.0)) for job in jobs]
    level = highest = 0.0
    for _, change in sorted(events):
        level += change
        highest = max(highest, level)
    return highest
