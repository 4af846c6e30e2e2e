"""Collects the workflow's benchmarks into cost tables: seconds and peak memory of every rule, totals and their bars.

    gillnext cost --benchmarks results/demo/benchmarks --memory results/demo/memory.json --out results/demo/cost

Writes `{rules,totals,backward,bars}.{csv,tex,json}`. Costs differ from run to run; they never enter a result table."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from gillnext.config import Config, arguments
from gillnext.record import jobs as benchmarks
from gillnext.record.jobs import Job
from gillnext.record.results import made_in, made_on, there
from gillnext.runtime import files
from gillnext.tables import bars
from gillnext.tables.memory import MODES, WORKLOADS, steps
from gillnext.tables.table import NOTHING, Column, Table, integer, number, text, write


def rules_table(jobs: list[Job], where: str) -> Table:
    """One row a rule, in the order in which rules first finished: jobs, seconds (sum, longest), peak MiB.

    `where`: arithmetic and machine, in words.
    """
    by_rule: dict[str, list[Job]] = {}
    for job in jobs:
        by_rule.setdefault(job.rule, []).append(job)

    def known(rule: str, key: str) -> list[float]:
        return [value for job in by_rule[rule] if (value := getattr(job, key)) is not None]

    columns = {
        Column("rule", "rule", left=True): text,
        Column("jobs", "jobs"): lambda rule: integer(len(by_rule[rule])),
        Column("seconds", "seconds, all jobs"): lambda rule: number(sum(known(rule, "seconds")), 1),
        Column("longest", "longest job"): lambda rule: number(max(known(rule, "seconds")), 1),
        Column("cpu_seconds", "CPU seconds, sampled"): lambda rule: number(sum(known(rule, "cpu_seconds")) or None, 1),
        Column("peak_mib", "peak MiB"): lambda rule: integer(max(known(rule, "peak_mib"), default=None)),
    }
    notes = [
        "From Snakemake's benchmark of every job that had ended when this table was made; "
        "a dash: too short to be sampled.",
        where,
    ]
    return Table.of("rules", "Cost of every rule", by_rule, columns, *notes)


def totals(jobs: list[Job]) -> dict[str, float]:
    """Totals of a run: minutes in which any job ran, all jobs' minutes added up, CPU minutes, GiB at the peak."""
    return {
        "wall_minutes": benchmarks.busy_seconds(jobs) / 60,
        "job_minutes": sum(job.seconds for job in jobs) / 60,
        "cpu_minutes": sum(job.cpu_seconds or 0.0 for job in jobs) / 60,
        "peak_gib": benchmarks.peak_mib(jobs) / 1024,
        "jobs": float(len(jobs)),
    }


TOTALS = {
    "wall_minutes": "minutes of wall clock (time in which any job ran)",
    "job_minutes": "minutes of all jobs together",
    "cpu_minutes": "minutes of CPU, sampled",
    "peak_gib": "GiB at the peak (sum over jobs that ran together, an upper bound)",
    "jobs": "jobs",
}


def totals_table(values: dict[str, float]) -> Table:
    """The totals, each with how it was taken."""
    columns = {
        Column("quantity", "quantity", left=True): lambda key: text(TOTALS[key]),
        Column("value", "value"): lambda key: integer(values[key]) if key == "jobs" else number(values[key], 2),
    }
    return Table.of("totals", "Totals of the run", values, columns)


def bars_table(values: dict[str, float], tier: str, arithmetic: str = "fast") -> Table:
    """The bars of this tier and arithmetic."""
    held = [bar for bar in bars.COST if bar.tier in (None, tier) and bar.arithmetic in (None, arithmetic)]
    columns = {
        bars.NAME: lambda bar: text(bar.name),
        bars.WANTED: lambda bar: text(f"≤ {bar.threshold:g} {bar.unit}"),
        Column("measured", "measured"): lambda bar: text(f"{values[bar.key]:.1f} {bar.unit}"),
        bars.MET: lambda bar: text("yes" if values[bar.key] <= bar.threshold else "no"),
    }
    return Table.of("bars", "The bars on time and memory", held, columns)


def backward_table(memory: dict[str, Any]) -> Table:
    """Seconds and resident memory of each way to run the backward pass (the saved bytes are in the result
    tables).
    """
    columns = {
        Column("workload", "losses of", left=True): lambda step: text(WORKLOADS[step.workload]),
        Column("mode", "backward", left=True): lambda step: text(MODES.get(step.mode) or step.mode),
        Column("milliseconds", "ms a step"): lambda step: number(1000 * step.values["seconds"], 1),
        Column("peak_rss_mib", "resident growth, MiB"): lambda step: number(step.mib("peak_rss_bytes"), 1),
    }
    threads = memory.get("threads", NOTHING)
    plural = "" if threads == 1 else "s"
    notes = [
        f"Batch {memory.get('batch', NOTHING)}, {threads} thread{plural}, median of repeats. Resident growth is that "
        "of a process's first step; a dash where other steps had to be run before."
    ]
    return Table.of("backward", "Time of the backward pass", steps(memory), columns, *notes)


def cost(config: Config, folder: Path, memory: Path, out: Path) -> None:
    """Write the cost tables into the folder `out`."""
    jobs = benchmarks.read(folder)
    values, measured = totals(jobs), files.read_json(there(memory, "memory"))
    stamp = measured.get("provenance", {})
    bars_met = bars_table(values, config.run.tier, made_in(stamp))
    with files.atomic(out) as temporary:
        temporary.mkdir()
        write(temporary, [rules_table(jobs, made_on(stamp)), totals_table(values), bars_met, backward_table(measured)])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.add_config(parser)
    parser.add_argument("--benchmarks", type=Path, required=True, metavar="FOLDER", help="Snakemake's benchmark files")
    parser.add_argument("--memory", type=Path, required=True, metavar="FILE", help="memory.json of `gillnext memory`")
    arguments.add_out(parser, "folder of the cost tables")


def main(args: argparse.Namespace) -> None:
    cost(arguments.config(args), args.benchmarks, args.memory, args.out)
    print(args.out)
