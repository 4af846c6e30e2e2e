"""The score files of a run, and the numbers of its main tables, each with its values over seeds: what is compared
beside those of the claims."""

from __future__ import annotations

import dataclasses

from gillnext.claims.verdicts import Number
from gillnext.tables.build import DATA, MAIN, PLANNER, metric_title
from gillnext.tables.collect import Results

ARM = "arm "  # begins the names of the arms' groups
RELATIONS = ("relation_accuracy", "object_recall")


def _arm(results: Results, arm: str) -> list[Number]:
    """The main table's row of an arm, and of its chance level and end-to-end relations where it has them."""
    places = {"": list(MAIN)}
    if arm == results.reference:
        places[""] += ["chance_success50", "chance_miou"]
    if arm in results.config.study.end_to_end_arms:
        places["relations"] = list(RELATIONS)
    return [
        Number(f"{arm}, {metric_title(metric)}", metric, tuple(results.seeds(arm, metric, kind)))
        for kind, metrics in places.items()
        for metric in metrics
    ]


def _once(results: Results, place: tuple[str, str], prefix: str, metrics: list[str]) -> list[Number]:
    """Numbers that a run has once."""
    found = results.read(*place).get("metrics", {})
    return [Number(f"{prefix}, {metric_title(m)}", m, (float(found[m]),)) for m in metrics if m in found]


def groups(results: Results, arms: list[str]) -> dict[str, list[Number]]:
    """Name of an arm, or of a part that is there once → its numbers."""
    found = {f"{ARM}{arm}": _arm(results, arm) for arm in arms}
    found["ceilings"] = [
        n for of, at in results.ceilings.items() for n in _once(results, at, f"ceiling, {of}", [*MAIN])
    ]
    found["planner"] = _once(results, results.planner, "planner", [*PLANNER])
    found["data"] = _once(results, results.data, "data", [*DATA])
    return found


def scores(results: Results) -> list[str]:
    """The score files of every arm and seed, end-to-end and swapped ones where they are, and those of the whole run."""
    study, names = results.config.study, []
    for arm in study.arms:
        for seed in study.seeds_of(arm):
            names.append(results.score(arm, seed)[0])
            if arm in results.config.study.end_to_end_arms:
                names.append(results.score(arm, seed, "relations")[0])
            if arm in study.swapped:
                names.append(results.score(arm, seed, "swapped")[0])
    whole = [*results.ceilings.values(), results.planner, results.data, results.memory]
    return names + [name for name, _ in whole]


def alike(results: Results, arm: str) -> list[str]:
    """The trained arms that differ from this one in the site of injection alone, itself among them; else none.

    Over whole runs their numbers of one metric spread alike: the same base, data and steps are behind each.
    """
    arms = results.config.study.arms
    settings = {
        name: dataclasses.replace(arms[name], site="attn2", seeds=None) for name in results.config.study.trained
    }
    return [name for name, found in settings.items() if found == settings.get(arm)]


def pool(results: Results, arm: str, number: Number) -> list[str]:
    """The numbers that spread over whole runs as this one of an arm does: of one metric, of arms that are alike."""
    words = number.name.removeprefix(f"{arm}, ")
    return [f"{other}, {words}" for other in alike(results, arm)]
