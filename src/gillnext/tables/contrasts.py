"""The contrasts that the paper rests on, fixed in the settings before the runs: paired by seed, with t intervals."""

from __future__ import annotations

from gillnext.record.results import Results
from gillnext.statistics import LEVEL, differences, estimate
from gillnext.tables.build import metric_digits
from gillnext.tables.table import Column, Table, integer, signed, text
from gillnext.tables.words import second, titled

METRICS = {"success50": "success@0.5", "rules_success50": "the same by rules", "miou": "mIoU",
           "rules_miou": "the same by rules", "kid": "KID", "clip_score": "CLIP score"}  # fmt: skip


def _title(metric: str) -> str:
    """In words, as a row tells it."""
    plain = metric.removeprefix("rules_")
    return METRICS[plain] + (" by rules" if plain != metric else "")


def _words(results: Results, values: dict[str, list[float]], contrasts: int) -> str:
    """Which metrics the seeds tell apart at all, each at a level divided by the number of contrasts (Bonferroni)."""
    level = 1 - (1 - LEVEL) / contrasts
    apart = [titled(results, _title(name)) for name, paired in values.items() if estimate(paired, level).excludes(0.0)]
    return "all of these" if len(apart) == len(values) else ", ".join(apart) or "nothing shown"


def contrasts_table(results: Results) -> Table | None:
    """One row a contrast, first − second; None where the settings name none."""
    rows, pairs = [], results.config.study.headline
    for one, other in pairs:
        values = {name: differences(*results.both(one, other, name)) for name in METRICS}
        cells = [signed(estimate(paired), metric_digits(name)) for name, paired in values.items()]
        seeds = integer(len(results.common_seeds(one, other)))
        rows.append([text(f"{one} − {other}"), seeds, *cells, text(_words(results, values, len(pairs)))])
    if not rows:
        return None
    columns = [Column("contrast", "contrast", left=True), Column("seeds", "seeds")]
    columns += [Column(name, titled(results, title), interval=True) for name, title in METRICS.items()]
    columns.append(Column("apart", "told apart", left=True))
    notes = [
        "Differences paired by training seed, ± half a 95% t interval; fixed in the settings before the runs. "
        f"{second(results)} Told apart, metric by metric: by the interval at a level divided "
        "by the number of contrasts (Bonferroni)."
    ]
    return Table("contrasts", "Headline contrasts", columns, rows, notes)
