"""The numbers of a run's main tables, each with its values over seeds: what is compared beside those of the claims."""

from __future__ import annotations

import dataclasses

from gillnext.claims.verdicts import Number
from gillnext.record.results import DATA, PLANNER, REAL, VAE, Results, Scored
from gillnext.tables.build import DATA_LABELS, MAIN, PLANNER_LABELS, metric_title

ARM = "arm "  # begins the names of the arms' groups
RELATIONS = ("relation_accuracy", "object_recall")


def _arm(results: Results, arm: str) -> list[Number]:
    """The main table's row of an arm, and of its chance level and end-to-end relations where it has them."""
    places = {"test": list(MAIN)}
    if arm == results.reference:
        places["test"] += ["chance_success50", "chance_miou"]
    if arm in results.config.study.end_to_end_arms:
        places["relations"] = list(RELATIONS)
    return [
        Number(f"{arm}, {metric_title(metric)}", metric, tuple(results.seeds(arm, metric, split)))
        for split, metrics in places.items()
        for metric in metrics
    ]


def _once(results: Results, of: Scored, prefix: str, metrics: list[str]) -> list[Number]:
    """Numbers that a run has once."""
    found = results.metrics(of)
    return [Number(f"{prefix}, {metric_title(m)}", m, (found[m].value,)) for m in metrics if m in found]


def groups(results: Results, arms: list[str]) -> dict[str, list[Number]]:
    """Name of an arm, or of a part that is there once → its numbers."""
    found = {f"{ARM}{arm}": _arm(results, arm) for arm in arms}
    found["ceilings"] = [n for of in (REAL, VAE) for n in _once(results, of, f"ceiling, {of.arm}", [*MAIN])]
    found["planner"] = _once(results, PLANNER, "planner", [*PLANNER_LABELS])
    found["data"] = _once(results, DATA, "data", [*DATA_LABELS])
    return found


def alike(results: Results, arm: str) -> list[str]:
    """The trained arms that differ from this one in the site of injection alone, itself among them; else none.

    Over whole runs their numbers of one metric spread alike: the same base, data and steps are behind each.
    """
    arms = results.config.study.arms
    settings = {
        name: dataclasses.replace(arms[name], site="attn2", seeds=None) for name in results.config.study.trained
    }
    return [name for name, found in settings.items() if found == settings.get(arm)]


def siblings(results: Results, arm: str, number: Number) -> list[str]:
    """The numbers that spread over whole runs as this one of an arm does: of one metric, of arms that are alike."""
    words = number.name.removeprefix(f"{arm}, ")
    return [f"{other}, {words}" for other in alike(results, arm)]
