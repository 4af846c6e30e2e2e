"""Held-out sets of a release beside the test set: people's captions of its layouts, a published benchmark's layouts.

Every arm draws them with its first seed (`Config.beside`), so that their intervals are over images.
"""

from __future__ import annotations

import numpy as np

from gillnext.record.results import REAL, VAE, Results, Scored, Value
from gillnext.statistics import RESAMPLES, Estimate, bootstrap
from gillnext.tables.table import Cell, Column, Table, integer, number, signed, span, text

METRICS = {"success50": ("hits", "success@0.5"), "miou": ("iou", "mIoU")}  # metric -> its sums by image, its title
CAPTIONS = {"test": "named", "people": "people's"}  # split -> who wrote its captions
INTERVAL = f"95%: bootstrap over images, {RESAMPLES:,} resamples; each arm's first seed."


def first(results: Results, arm: str, split: str) -> Scored:
    """An arm's set of a split at its first seed."""
    return results.scored(arm, split)[0]


def _boxes(results: Results, of: Scored) -> np.ndarray:
    return results.per_image(of, "boxes").astype(int)


def _fidelity(results: Results, of: Scored) -> list[Cell]:
    """Images and boxes of a set; value, interval and chance level of each metric."""
    cells = [integer(results.size(of)), integer(_boxes(results, of).sum())]
    for metric, (sums, _) in METRICS.items():
        ends = bootstrap(results.per_image(of, sums)[None], _boxes(results, of), "beside", metric)
        chance = number(results.metric(of, f"chance_{metric}"))
        cells += [number(results.metric(of, metric)), text(span(ends)), chance]
    return cells


def _difference(results: Results, one: Scored, two: Scored) -> list[Cell]:
    """`two` − `one`, of the same boxes in pictures of the same noise: paired by image."""
    cells = [integer(results.size(two)), integer(_boxes(results, two).sum())]
    for metric, (sums, _) in METRICS.items():
        apart_N = results.per_image(two, sums) - results.per_image(one, sums)
        ends = bootstrap(apart_N[None], _boxes(results, two), "beside", metric)
        difference = results.metric(two, metric) - results.metric(one, metric)
        cells += [signed(Estimate(difference, None, 1)), text(span(ends)), number(None)]
    return cells


def people_table(results: Results) -> Table | None:
    """Each arm by captions that name the objects and by people's, with the difference; then the ceilings. None where no
    arm has drawn people's.
    """
    if not results.has(first(results, results.reference, "people"), "success50"):
        return None
    columns = [Column("arm", "arm", left=True), Column("captions", "captions", left=True)]
    columns += [Column("images", "images"), Column("boxes", "boxes")]
    for metric, (_, title) in METRICS.items():
        columns += [Column(metric, f"{title} ↑"), Column(f"{metric}_images", "95%")]
        columns += [Column(f"chance_{metric}", "chance")]
    rows = []
    for arm in results.config.study.arms:
        named, people = (first(results, arm, split) for split in CAPTIONS)
        for of, captions in ((named, CAPTIONS["test"]), (people, CAPTIONS["people"])):
            rows.append([text(arm), text(captions), *_fidelity(results, of)])
        rows.append([text(arm), text("people's − named"), *_difference(results, named, people)])
    for of, title in ((REAL, "real images"), (VAE, "real, via VAE")):
        rows.append([text(title), text("either"), *_fidelity(results, of)])
    notes = [
        "Named: captions that name the objects of a layout and nothing else. People's: what stood beside the same "
        "pictures, which may tell places too, or leave objects out. Boxes and noise are the same, and so are the "
        f"ceilings, which no caption enters. Chance: the same pictures against redrawn boxes. {INTERVAL} Differences "
        "are paired by image."
    ]
    return Table("people", "Captions that name the objects, and people's own", columns, rows, notes)


def _value(cell: Value | None) -> list[Cell]:
    return [number(cell.value), text(span(cell.ends)), integer(cell.n)] if cell else [number(None)] * 3


def published_table(results: Results) -> Table | None:
    """Each arm on a published benchmark's layouts, by its own definitions; None where none were drawn."""
    if not results.has(first(results, results.reference, "published"), "success50"):
        return None
    rows = []
    for arm in results.config.study.arms:
        of = first(results, arm, "published")
        known = results.metrics(of)
        chance = known.get("chance_o_miou")
        cells = [text(arm), integer(results.size(of)), number(known["miou_overlaybench"].value)]
        cells += [*_value(known.get("o_miou")), number(chance.value if chance else None)]
        rows.append(cells + _fidelity(results, of)[1:5])
    columns = [Column("arm", "arm", left=True), Column("images", "images")]
    columns += [Column("miou_overlaybench", "mIoU, OverLayBench ↑"), Column("o_miou", "O-mIoU, OverLayBench ↑")]
    columns += [Column("o_miou_images", "95%"), Column("with_pairs", "with pairs"), Column("chance_o_miou", "chance")]
    columns += [Column("boxes", "boxes"), Column("success50", "success@0.5 ↑"), Column("success50_images", "95%")]
    columns += [Column("chance_success50", "chance")]
    notes = [
        "O-mIoU (Li et al. 2025, arXiv:2509.19282): of each pair of boxes that the benchmark names (of all that "
        "overlap, where it names none) the IoU of their intersection and that of what was found for them; mean of an "
        "image's pairs, then of the images with pairs. mIoU: pairs one to one by falling IoU, mean of an image, then "
        f"of images. This run's evaluator stands in for the benchmark's. {INTERVAL} Chance: the same pictures against "
        "redrawn boxes. The benchmark's layouts come without pictures here, so that there is no ceiling."
    ]
    return Table("published", "A published benchmark's layouts, by its own definitions", columns, rows, notes)
