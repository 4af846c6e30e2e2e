"""The numbers of a run's main tables, each with its values over seeds: what is compared beside those of the claims."""

from __future__ import annotations

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
    """Numbers that a run has once, with what they were counted over."""
    score, n = results.read(*place), results.size(*place)
    counts = score.get("counts", {})
    found = [(metric, score["metrics"][metric]) for metric in metrics if metric in score.get("metrics", {})]
    errors = {m: score["metrics"].get(f"{m}_se") for m, _ in found}
    return [Number(f"{prefix}, {metric_title(m)}", m, (float(v),), int(counts.get(m, n)), errors[m]) for m, v in found]


def groups(results: Results, arms: list[str]) -> dict[str, list[Number]]:
    """Name of an arm, or of a part that is there once → its numbers."""
    found = {f"{ARM}{arm}": _arm(results, arm) for arm in arms}
    found["ceilings"] = [
        n for of, at in results.ceilings.items() for n in _once(results, at, f"ceiling, {of}", [*MAIN])
    ]
    found["planner"] = _once(results, results.planner, "planner", [*PLANNER])
    found["data"] = _once(results, results.data, "data", [*DATA])
    return found
