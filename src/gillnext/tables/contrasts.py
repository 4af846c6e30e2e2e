"""The contrasts that the paper rests on, fixed in the settings before the runs: paired by seed, with t intervals."""

from __future__ import annotations

from gillnext.tables.build import metric_digits
from gillnext.tables.collect import Results
from gillnext.tables.statistics import Estimate, paired
from gillnext.tables.table import Column, Table, integer, signed, text

METRICS = {"success50": "success@0.5", "rules_success50": "the same by rules", "miou": "mIoU",
           "rules_miou": "the same by rules", "kid": "KID", "clip_score": "CLIP score"}  # fmt: skip


def _title(metric: str) -> str:
    """In words, as a row tells it."""
    plain = metric.removeprefix("rules_")
    return METRICS[plain] + (" by rules" if plain != metric else "")


def _words(differences: dict[str, Estimate]) -> str:
    """Which metrics the seeds tell apart at all."""
    told = [_title(name) for name, difference in differences.items() if difference.excludes(0.0)]
    return ", ".join(told) or "nothing shown"


def contrasts_table(results: Results) -> Table | None:
    """One row a contrast, first − second; None where the settings name none."""
    rows = []
    for first, second in results.config.study.headline:
        differences = {name: paired(*results.both(first, second, name)) for name in METRICS}
        cells = [signed(one, metric_digits(name)) for name, one in differences.items()]
        seeds = integer(len(results.common_seeds(first, second)))
        rows.append([text(f"{first} − {second}"), seeds, *cells, text(_words(differences))])
    if not rows:
        return None
    columns = [Column("contrast", "contrast", left=True), Column("seeds", "seeds")]
    columns += [Column(name, title, interval=True) for name, title in METRICS.items()]
    columns.append(Column("told", "interval without 0", left=True))
    notes = [
        "Differences paired by training seed, ± half a 95% t interval; fixed in the settings before the runs. "
        "By rules: the evaluator that learns nothing."
    ]
    return Table("contrasts", "Headline contrasts", columns, rows, notes)
