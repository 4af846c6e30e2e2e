"""Collects the workflow's benchmarks into cost tables: seconds and peak memory of every rule, totals and
their bars.

    gillnext cost --benchmarks results/demo/benchmarks --memory results/demo/memory.json \\
        --out results/demo/cost

Writes `{rules,totals,backward,bars}.{csv,tex,json}`. Costs differ from run to run; they never enter a
result table. `--wall FILE` names a JSON file with {"seconds": …} where the wall clock was taken from
outside."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from gillnext.config import Config, arguments
from gillnext.record import jobs as benchmarks
from gillnext.record.jobs import Job
from gillnext.record.results import made_in, made_on
from gillnext.runtime import files
from gillnext.runtime.errors import UserError
from gillnext.tables import bars
from gillnext.tables.memory import FAMILIES, MODES, families, ordered
from gillnext.tables.table import NOTHING, Column, Table, integer, number, text, write


def rules_table(jobs: list[Job], where: str) -> Table:
    """One row a rule, in the order in which rules first finished: jobs, seconds (sum, longest), peak MiB.

    `where`: arithmetic and machine, in words.
    """
    rows, names = [], list(dict.fromkeys(job.rule for job in jobs))
    for name in names:
        mine = [job for job in jobs if job.rule == name]
        peaks = [job.peak_mib for job in mine if job.peak_mib is not None]
        cpu = [job.cpu_seconds for job in mine if job.cpu_seconds is not None]
        rows.append(
            [
                text(name),
                integer(len(mine)),
                number(sum(j.seconds for j in mine), 1),
                number(max(j.seconds for j in mine), 1),
                number(sum(cpu), 1) if cpu else text(NOTHING),
                integer(max(peaks)) if peaks else text(NOTHING),
            ]
        )
    columns = [
        Column("rule", "rule", left=True),
        Column("jobs", "jobs"),
        Column("seconds", "seconds, all jobs"),
        Column("longest", "longest job"),
        Column("cpu_seconds", "CPU seconds, sampled"),
        Column("peak_mib", "peak MiB"),
    ]
    notes = [
        "From Snakemake's benchmark of every job that had ended when this table was made; "
        "a dash: too short to be sampled.",
        where,
    ]
    return Table("rules", "Cost of every rule", columns, rows, notes)


def totals(jobs: list[Job], wall: dict[str, Any] | None) -> dict[str, float]:
    """Totals of a run: minutes of wall clock, of jobs and of CPU; GiB at the peak."""
    seconds = float(wall["seconds"]) if wall else benchmarks.busy_seconds(jobs)
    peak = float(wall["peak_mib"]) if wall and "peak_mib" in wall else benchmarks.peak_mib(jobs)
    return {
        "wall_minutes": seconds / 60,
        "job_minutes": sum(job.seconds for job in jobs) / 60,
        "cpu_minutes": sum(job.cpu_seconds or 0.0 for job in jobs) / 60,
        "peak_gib": peak / 1024,
        "jobs": float(len(jobs)),
    }


def _wall(measured: bool) -> str:
    return "measured from outside" if measured else "time in which any job ran"


def totals_table(values: dict[str, float], measured: bool, measured_peak: bool) -> Table:
    """The totals, each with how it was taken."""
    peak = "measured from outside" if measured_peak else "sum over jobs that ran together, an upper bound"
    labels = {
        "wall_minutes": f"minutes of wall clock ({_wall(measured)})",
        "job_minutes": "minutes of all jobs together",
        "cpu_minutes": "minutes of CPU, sampled",
        "peak_gib": f"GiB at the peak ({peak})",
        "jobs": "jobs",
    }
    rows = [[text(labels[k]), integer(v) if k == "jobs" else number(v, 2)] for k, v in values.items()]
    return Table(
        "totals",
        "Totals of the run",
        [Column("quantity", "quantity", left=True), Column("value", "value")],
        rows,
    )


def bars_table(values: dict[str, float], tier: str, measured: bool = False, arithmetic: str = "fast") -> Table:
    """The bars of this tier and arithmetic; without a clock outside, time is that in which jobs ran."""
    rows = []
    for bar in bars.COST:
        if bar.tier in (None, tier) and bar.arithmetic in (None, arithmetic):
            value = values[bar.key]
            rows.append(
                [
                    text(bar.name + (f", {_wall(measured)}" if bar.key == "wall_minutes" else "")),
                    text(f"≤ {bar.threshold:g} {bar.unit}"),
                    text(f"{value:.1f} {bar.unit}"),
                    text("yes" if value <= bar.threshold else "no"),
                ]
            )
    return Table("bars", "The bars on time and memory", bars.COST_COLUMNS, rows)


def backward_table(memory: dict[str, Any]) -> Table:
    """Seconds and resident memory of each way to run the backward pass (the saved bytes are in the result
    tables).
    """
    rows = []
    for family, part in families(memory).items():
        for mode, values in ordered(part.get("modes", {})).items():
            peak = values.get("peak_rss_bytes")
            rows.append(
                [
                    text(FAMILIES[family]),
                    text(MODES.get(mode) or str(mode)),
                    number(1000 * values["seconds"], 1),
                    number(peak / 2**20, 1) if peak is not None else text(NOTHING),
                ]
            )
    columns = [
        Column("family", "losses of", left=True),
        Column("mode", "backward", left=True),
        Column("milliseconds", "ms a step"),
        Column("peak_rss_mib", "resident growth, MiB"),
    ]
    threads = memory.get("threads", NOTHING)
    plural = "" if threads == 1 else "s"
    notes = [
        f"Batch {memory.get('batch', NOTHING)}, {threads} thread{plural}, median of repeats. Resident growth is that "
        "of a process's first step; a dash where other steps had to be run before."
    ]
    return Table("backward", "Time of the backward pass", columns, rows, notes)


def cost(config: Config, folder: Path, memory: Path, out: Path, wall: Path | None = None) -> None:
    """Write the cost tables into the folder `out`."""
    jobs = benchmarks.read(folder)
    if not memory.exists():
        raise UserError("no such file", where=str(memory), remedy="make it with `gillnext memory`")
    if wall and not wall.exists():
        raise UserError("no such file", where=str(wall), remedy="leave --wall out where nothing was measured outside")
    outside = files.read_json(wall) if wall else None
    values, measured = totals(jobs, outside), files.read_json(memory)
    stamp = measured.get("provenance", {})
    built = [
        rules_table(jobs, made_on(stamp)),
        totals_table(values, outside is not None, "peak_mib" in (outside or {})),
        bars_table(values, config.run.tier, outside is not None, made_in(stamp)),
        backward_table(measured),
    ]
    with files.atomic(out) as temporary:
        temporary.mkdir()
        write(temporary, built)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.add_config(parser)
    parser.add_argument("--benchmarks", type=Path, required=True, metavar="FOLDER", help="Snakemake's benchmark files")
    parser.add_argument("--memory", type=Path, required=True, metavar="FILE", help="memory.json of `gillnext memory`")
    parser.add_argument("--wall", type=Path, metavar="FILE", help='{"seconds": …}, taken from outside (optional)')
    arguments.add_out(parser, "folder of the cost tables")


def main(args: argparse.Namespace) -> None:
    usual = args.benchmarks.parent / "wall.json"
    wall = args.wall or (usual if usual.exists() else None)
    cost(arguments.config(args), args.benchmarks, args.memory, args.out, wall)
    print(args.out)
