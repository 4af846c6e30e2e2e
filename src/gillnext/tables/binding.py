"""Are boxes tied to words? The share of filled boxes that hold their own class, and success with swapped phrases."""

from __future__ import annotations

from collections.abc import Callable

from gillnext.record.results import Results
from gillnext.statistics import Estimate, estimate
from gillnext.tables.table import Cell, Column, Table, integer, number, text
from gillnext.tables.words import titled

SWAPPED = {
    "success50": "success, swapped ↑",
    "rules_success50": "the same by rules ↑",
    "wrong_class": "wrong class, swapped ↓",
}


def own_class(results: Results, arm: str) -> list[float]:
    """Seed by seed: boxes filled with their own class among boxes filled at all, in [0, 1]."""
    right, wrong = results.seeds(arm, "success50"), results.seeds(arm, "wrong_class")
    return [r / max(r + w, 1e-9) for r, w in zip(right, wrong, strict=True)]


def of_several(results: Results, arm: str) -> Estimate:
    """Over seeds: success@0.5 on the test layouts of two objects or more, those that the swapped ones come from."""
    values = []
    for of in results.scored(arm):
        boxes_N, hits_N = (results.per_image(of, name) for name in ("boxes", "hits"))
        values.append(float(hits_N[boxes_N > 1].sum() / max(boxes_N[boxes_N > 1].sum(), 1)))
    return estimate(values)


def compared(results: Results) -> list[str]:
    """The arms with swapped layouts, and those whose tokens have no phrase."""
    study = results.config.study
    return [name for name, arm in study.arms.items() if name in study.swapped or not arm.phrases]


def binding_table(results: Results) -> Table | None:
    """One row an arm; None where no arm was drawn with swapped phrases and none is without them."""
    arms, study = compared(results), results.config.study

    def swapped(key: str) -> Callable[[str], Cell]:
        return lambda arm: number(results.over_seeds(arm, key, "swapped") if arm in study.swapped else None)

    columns = {
        Column("arm", "arm", left=True): text,
        Column("phrases", "phrase", left=True): lambda arm: text("own" if study.arms[arm].phrases else "none"),
        Column("seeds", "seeds"): lambda arm: integer(len(study.seeds_of(arm))),
        Column("several_success50", "success, two or more ↑", interval=True): lambda a: number(of_several(results, a)),
        Column("wrong_class", "wrong class ↓", interval=True): lambda a: number(results.over_seeds(a, "wrong_class")),
        Column("own_class", "own class of filled ↑", interval=True): lambda a: number(estimate(own_class(results, a))),
    } | {
        Column(f"swapped_{key}", titled(results, title), interval=True): swapped(key) for key, title in SWAPPED.items()
    }
    note = "Swapped: the test layouts of two objects or more, each name moved to the next box, captions as they were."
    return Table.of("binding", "Boxes and words", arms, columns, note) if arms else None
