"""Two evaluators, in the demo a learned one and one that learns nothing: do both put the arms in the same order?

Two scores of the same pictures by evaluators that share no weights, corpus or method. Where they disagree about which
of two arms is better, a note names the pair.
"""

from __future__ import annotations

from gillnext.record.results import REAL, VAE, Results
from gillnext.tables.build import arm_and_seeds, over_seeds
from gillnext.tables.order import disagreements, opposed, pairs_of
from gillnext.tables.table import NOTHING, Table, number, text
from gillnext.tables.words import pair

METRICS = {"success50": "success@0.5", "miou": "mIoU"}
NAMED = 3  # pairs in opposite order that are named whether or not seeds tell them apart; headline pairs always are
WHO = ("the learned one", "the rules")
PREFIXES = ("", "rules_")  # of the scores by the evaluator, and by the second


def _chance(key: str) -> str:
    """A score's chance level: chance_miou of miou, rules_chance_miou of rules_miou."""
    plain = key.removeprefix("rules_")
    return f"{key.removesuffix(plain)}chance_{plain}"


def _about(results: Results) -> str:
    """What the evaluators are."""
    if results.second_learns_nothing:
        return "Rules: templates of colour and shape, nothing learned."
    protocol = results.protocol(results.first())
    return f"First: {protocol.get('evaluator', NOTHING)}. Second: {protocol.get('rules', NOTHING)}."


def ordering(results: Results, metric: str) -> str:
    """One sentence on whether both evaluators order all pairs of arms alike by the means of `metric`."""
    title, both = METRICS[metric], (metric, f"rules_{metric}")
    total, apart = pairs_of(results), disagreements(results, *both)
    if not apart:
        return f"{title}: both evaluators put all {total} pairs of arms in the same order."
    agreed = f"{title}: the evaluators agree on the order of {total - len(apart)} of {total} pairs of arms"
    headline = [set(pair) for pair in results.config.study.headline]
    shown = [pair for pair in apart if len(apart) <= NAMED or set(pair) in headline or opposed(results, *pair, *both)]
    first, second = WHO if results.second_learns_nothing else ("the first", "the second")
    named = "; ".join(f"{a} above {b} by {first}, below it by {second}" for a, b in shown)
    if len(shown) == len(apart):
        return f"{agreed}, not on {named}."
    rest = f"{len(apart) - len(shown)} are too close, or have too few seeds, for one of the two to tell"
    return f"{agreed}; of the others, {rest}{'; named here: ' + named if shown else ''}."


def evaluators_table(results: Results) -> Table:
    """Arms, then ceilings × both evaluators of success@0.5 and mIoU."""
    study, who = results.config.study, dict(zip(PREFIXES, pair(results), strict=True))
    keys = {f"{prefix}{metric}": (f"{METRICS[metric]}, {who[prefix]}", 3) for metric in METRICS for prefix in PREFIXES}
    columns = arm_and_seeds(results) | over_seeds(results, keys)
    notes = [_about(results), *(ordering(results, m) for m in METRICS)]
    table = Table.of("evaluators", "Two evaluators of the same pictures", study.arms, columns, *notes)
    for of, title in ((REAL, "real images"), (VAE, "real, via VAE")):
        table.rows.append([text(title), text("–"), *(number(results.metric(of, name)) for name in keys)])
    chance = [results.over_seeds(study.reference, _chance(key)) for key in keys]
    table.rows.append([text(f"{study.reference}, boxes redrawn"), text("–"), *map(number, chance)])
    return table
