"""How often `verify` and the bars cry wolf: whole runs made of one run's training seeds, each judged by the others.

    python benchmarks/alarms.py --results results/seeds --out reference/measured/alarms.json

Twenty seeds make six runs of three. Each is compared with another as a run is with the kept one, by the spread of the
remaining ones, in fast arithmetic's way (claims and numbers, no hashes); an honest comparison has no failing row, and a
bar's verdict no other than over all seeds. Prints and writes the alarms with their binomial interval. A run in fast
arithmetic begins from the same weights and batches as the kept one, so that it lies nearer to it than another seed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gillnext.claims.stage import Claim, read_claims
from gillnext.config.load import settings_of
from gillnext.config.model import Config
from gillnext.record.results import Results
from gillnext.runtime import files, machine
from gillnext.statistics import wilson
from gillnext.tables import bars
from gillnext.tables.runs import Runs
from gillnext.verify.report import FAIL
from gillnext.verify.runs import values
from gillnext.verify.stage import Pair, compared


def settings(whole: Config, seeds: Sequence[int]) -> Config:
    """A run's of these seeds, of arms that are trained: others have seeds of their noise."""
    study = whole.study
    arms = {name: study.arms[name] for name in study.trained}
    return replace(whole, study=replace(study, arms=arms, seeds=list(seeds), headline_seeds=[], end_to_end=[]))


def judged(mine: Results, kept: Results, others: Runs, claims: list[Claim]) -> list[str]:
    """The rows of a comparison that fail."""
    rows = compared(Pair(mine, kept, others), claims, list(mine.config.study.arms))
    return [row.id or row.what for row in rows if row.result == FAIL]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True, help="a run with many training seeds")
    parser.add_argument("--seeds", type=int, default=3, help="of each whole run that is made of them")
    parser.add_argument("--claims", type=Path, default=Path("reference/claims.yaml"))
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    whole, claims = settings_of(args.results), read_claims(args.claims)
    seeds = whole.study.seeds_of(whole.study.reference)
    parts = [seeds[i : i + args.seeds] for i in range(0, len(seeds) - args.seeds + 1, args.seeds)]
    runs = [Results(args.results, settings(whole, part)) for part in parts]
    every = Results(args.results, settings(whole, seeds))
    known = [values(run, claims) for run in runs]
    expected = {bar.key: bar.verdict(bar.measure(every)) for bar in bars.of_tier(every)}
    found: dict[str, list[Any]] = {"verify": [], "bars": []}
    for i, run in enumerate(runs):
        others = Runs({str(parts[j]): numbers for j, numbers in enumerate(known) if j != i})
        found["verify"].append(judged(run, runs[i - 1], others, claims))
        verdicts = {bar.key: bar.verdict(bars.measured(bar, run, others)[0]) for bar in bars.of_tier(run)}
        opposite = {("yes", "no"), ("no", "yes")}
        found["bars"].append([key for key, word in verdicts.items() if (expected[key], word) in opposite])
    told: dict[str, Any] = {"runs": len(runs), "seeds": args.seeds, "processor": machine.processor()}
    for kind, alarms in found.items():
        count = sum(map(bool, alarms))
        told[kind] = {"alarms": count, "interval": wilson(count / len(runs), len(runs)), "rows": alarms}
        low, high = told[kind]["interval"]
        print(
            f"{kind}: {count} of {len(runs)} whole runs of {args.seeds} seeds raise an alarm ({low:.2f} to {high:.2f})"
        )
    files.write_json(args.out, told)


if __name__ == "__main__":
    main()
