"""Box fidelity by strata of the requested boxes, and in the overlap of two, beside ceilings and chance level."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from gillnext.record.results import REAL, VAE, Results, Scored, Value
from gillnext.score import strata
from gillnext.statistics import Estimate, estimate
from gillnext.tables.table import Cell, Column, Table, integer, number, span, text

METRICS = {"success50": "success@0.5", "miou": "mIoU"}
NOTES = (
    "By what a layout tells of its boxes: geometric mean side (medium from {SIDES[0]} of the image's, large from "
    "{SIDES[1]}), number in the layout (few: up to {FEW}), distance from the border (edge: below {EDGE}), ratio of "
    "the sides (tall, wide: from {RATIO}), largest IoU with another box, and depth among boxes that overlap, by the "
    "order of painting. After Cho et al. 2023, arXiv:2304.06671, and Li et al. 2025, arXiv:2509.19282.",
    "O-mIoU (Li et al.): of two boxes that overlap, IoU of their intersection and that of what was found for them; "
    "mean of an image's pairs, then of the n images that have any.",
    "n: boxes. Arms: ± half a 95% t interval over seeds; 95% of real pictures: bootstrap over images. Chance: the "
    "reference arm's pictures against redrawn boxes, those of them that are of the stratum themselves.",
)


class Part(NamedTuple):
    """A part of the requested boxes by one kind, or all that overlap (of no kind), and a metric."""

    kind: str
    part: str
    metric: str

    def of(self, results: Results, of: Scored, prefix: str = "") -> Value | None:
        """The metric of a set in this part; None where the set has none."""
        name = f"{prefix}{self.metric}"
        found = results.groups(of, self.kind, name) if self.kind else results.metrics(of)
        return found.get(self.part if self.kind else name)

    def over_seeds(self, results: Results, arm: str, prefix: str = "") -> Estimate | None:
        values = [self.of(results, of, prefix) for of in results.scored(arm)]
        return estimate([value.value for value in values if value]) if all(values) else None


def parts(results: Results) -> list[Part]:
    """Those that the record has of every arm that is shown; none of a run that was scored before there were strata."""
    first, sets = results.first(), [of for arm in results.config.study.shown_arms for of in results.scored(arm)]
    every = [
        Part(kind, part, metric) for kind in strata.KINDS for part in strata.KINDS[kind].parts for metric in METRICS
    ]
    known = [kind for kind in strata.KINDS if results.groups(first, kind, "chance_miou")]
    scored = [kind for kind in known if all(results.groups(of, kind, "miou") for of in sets)]
    found = [part for part in every if part.kind in scored and part.of(results, first)]
    return found + [Part("", "", "o_miou")] * results.has(first, "o_miou")


def strata_table(results: Results) -> Table | None:
    """A row a part and metric: n, chance, the arms that are shown, real images and those through the autoencoder."""

    def arm(name: str, prefix: str = "") -> Callable[[Part], Cell]:
        return lambda part: number(part.over_seeds(results, name, prefix))

    def ceiling(of: Scored, cell: Callable[[Value], Cell]) -> Callable[[Part], Cell]:
        return lambda part: cell(found) if (found := part.of(results, of)) else number(None)

    columns = {
        Column("kind", "stratum", left=True): lambda part: text(part.kind or "overlap"),
        Column("part", "boxes", left=True): lambda part: text(part.part or "the overlap itself"),
        Column("metric", "metric", left=True): lambda part: text(METRICS.get(part.metric, "O-mIoU")),
        Column("n", "n"): lambda part: integer(part.of(results, results.first()).n),
        Column("chance", "chance", interval=True): arm(results.reference, "chance_"),
    }
    columns |= {Column(name, name, interval=True): arm(name) for name in results.config.study.shown_arms}
    for of, title in ((REAL, "real"), (VAE, "real, via VAE")):
        columns[Column(of.arm, title)] = ceiling(of, lambda value: number(value.value))
        columns[Column(f"{of.arm}_images", "95%")] = ceiling(of, lambda value: text(span(value.ends)))
    notes = [note.format(**vars(strata)) for note in NOTES]
    found = parts(results)
    return Table.of("strata", "Which boxes are hard", found, columns, *notes) if found else None
