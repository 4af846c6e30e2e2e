"""The rules that judge claims. Each gets a claim's `rule` mapping and the results, and returns a `Verdict`.

A comparison between arms is decided by the sign of the paired differences over training seeds: only where
the 95% t interval excludes 0 (or the threshold) is anything decided; what the seeds cannot tell is “not
shown”."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gillnext import layouts
from gillnext.claims.verdicts import Number, Verdict, Word
from gillnext.runtime.errors import UserError
from gillnext.tables.binding import own_class
from gillnext.tables.build import MAIN, metric_title
from gillnext.tables.collect import Results
from gillnext.tables.memory import gill_modes, memory_modes
from gillnext.tables.statistics import LEVEL, Estimate, differences, estimate
from gillnext.tables.table import decimals, number, scientific, signed

Rule = Callable[[dict[str, Any], Results], Verdict]
NORMS = {"gradient_norm": "gradient_norms.json", "position_net_norm": "position_net_norms.json"}
ADDITIVE = {"infonce": "InfoNCE", "denoising": "denoising"}


def find_arm(results: Results, settings: dict[str, str]) -> str | None:
    """The first arm of the config that has these settings."""
    arms = results.config.study.arms.items()
    return next((name for name, arm in arms if all(getattr(arm, k) == v for k, v in settings.items())), None)


def _describe(settings: dict[str, str]) -> str:
    return ", ".join(f"{k} {v}" for k, v in settings.items())


def _missing(settings: dict[str, str]) -> Verdict:
    return Verdict(Word.NOT_RUN, reason=f"no arm with {_describe(settings)}")


def direction(difference: Estimate, wanted: str) -> int:
    """+1 where the interval lies on the claimed side of 0, −1 on the other side, 0 where it holds 0."""
    if not difference.excludes(0.0):
        return 0
    return 1 if (difference.mean > 0) == (wanted == "higher") else -1


def sign_word(directions: list[int]) -> Word:
    """All as claimed: reproduced. Some the other way and none as claimed: contradicted. Else: not shown."""
    if all(d > 0 for d in directions):
        return Word.REPRODUCED
    return Word.CONTRADICTED if min(directions) < 0 and max(directions) <= 0 else Word.NOT_SHOWN


def _values(results: Results, arms: tuple[str, str], metric: str, seeds: list[int]) -> list[list[float]]:
    """A metric of two arms, seed by seed; a norm's is the largest over the steps that both were trained for."""
    if metric not in NORMS:
        return [[results.metric(*results.score(arm, seed), metric) for seed in seeds] for arm in arms]
    norms = [[results.history(arm, seed, NORMS[metric]) for seed in seeds] for arm in arms]
    steps = min(len(run) for of_arm in norms for run in of_arm)
    return [[float(max(run[:steps])) for run in of_arm] for of_arm in norms]


def _pairs(rule: dict[str, Any], results: Results) -> tuple[list[tuple[str, str]], dict[str, str]]:
    """The two arms under every setting of `under` (or once, without it) that this run holds, and one that it lacks."""
    pairs: list[tuple[str, str]] = []
    absent: dict[str, Any] = {}
    for more in rule.get("under", [{}]):
        wanted = [rule[key] | more for key in ("first", "second")]
        found = [find_arm(results, settings) for settings in wanted]
        if None in found:
            absent = absent or wanted[found.index(None)]
        else:
            pairs.append((str(found[0]), str(found[1])))
    return pairs, absent


def judge_paired(rule: dict[str, Any], results: Results) -> Verdict:
    """Two arms compared by metrics, each with the direction in which the first is claimed better.

    With `under`, a list of further settings, the comparison is made under each of them and must hold under all. What
    lies the other way counts at a level divided by the number of intervals.
    """
    pairs, absent = _pairs(rule, results)
    if not pairs:
        return _missing(absent)
    directions, told, numbers, compared = [], [], [], []
    count = len(pairs) * len(rule["metrics"])
    for first, second in pairs:
        seeds, parts = results.common_seeds(first, second), []
        for metric, wanted in rule["metrics"].items():
            values = differences(*_values(results, (first, second), metric, seeds))
            difference = estimate(values)
            directions.append(direction(difference, wanted))
            if directions[-1] < 0:  # one of several intervals may lie on the wrong side by chance: Bonferroni
                directions[-1] = direction(estimate(values, 1 - (1 - LEVEL) / count), wanted)
            title, digits = metric_title(metric), MAIN[metric][1] if metric in MAIN else 3
            parts.append(f"{title} {signed(difference, digits).text}")
            numbers.append(Number(f"{first} − {second}, {title}", metric, tuple(values)))
        compared.append(f"{first} − {second}, paired over {len(seeds)} seed{'s' if len(seeds) > 1 else ''}")
        told.append((f"{first} − {second}: " if len(pairs) > 1 else "") + "; ".join(parts))
    reason = compared[0] if len(pairs) == 1 else f"paired by seed, under {len(pairs)} settings"
    return Verdict(sign_word(directions), ". ".join(told), reason, tuple(numbers))


def judge_binding(rule: dict[str, Any], results: Results) -> Verdict:
    """The share of boxes filled with their own class among boxes filled at all, against the share without a
    tie.

    Without a tie between boxes and words a scene of k objects puts the right one into a box once in k, so
    the share expected is layouts/objects over the test layouts (a layout of one object is always right).
    """
    name = find_arm(results, rule["arm"])
    if name is None:
        return _missing(rule["arm"])
    shares = own_class(results, name)
    share = estimate(shares)
    untied = untied_share(results)
    limit = untied + float(rule["margin"])
    word = Word.NOT_SHOWN
    if share.half is not None and share.low > limit:
        word = Word.CONTRADICTED
    elif share.half is not None and share.high < limit:
        word = Word.REPRODUCED
    measured = f"{number(share).text} of filled boxes hold their own class"
    if name in results.config.study.swapped:
        swapped = number(results.over_seeds(name, "success50", "swapped")).text
        measured += f"; success with swapped phrases {swapped}"
    behind = Number(f"{name}, filled boxes with their own class", "share", tuple(shares))
    return Verdict(word, measured, f"{name}; {decimals(untied, 3)} expected without any tie", (behind,))


def untied_share(results: Results) -> float:
    """layouts / objects of the test set: the expected share of right classes if places were dealt at
    random.
    """
    path = results.root / "world" / "heldout" / "test.jsonl"
    if not path.exists():
        raise UserError("no such file", where=str(path), remedy="make it with `gillnext world`")
    counts = [len(layout.names) for layout in layouts.read(path) if layout.names]
    if not counts:
        raise UserError("no layouts in it", where=str(path), remedy="make it again with `gillnext world`")
    return len(counts) / sum(counts)


def _mode(results: Results, rule: dict[str, Any]) -> tuple[dict[str, float], dict[str, float] | None, str]:
    """The rule's mode and the one to compare with; `same losses` picks the plain mode with as many losses."""
    modes = memory_modes(results)
    mode, against = modes.get(rule["mode"]), rule["against"]
    if mode is None:
        return {}, None, against
    if against == "same losses":
        plain = (m for m in ("single", "summed") if m in modes and modes[m]["losses"] == mode["losses"])
        against = next(plain, "summed")
    return mode, modes.get(against), against


def judge_reduction(rule: dict[str, Any], results: Results) -> Verdict:
    """Bytes held for backward against another mode; decided by the rule's tolerance, else measured.

    With `also: gill` the measured text tells GILL's own losses too; the verdict is that of the three UNet forwards.
    """
    mode, other, against = _mode(results, rule)
    if not mode or other is None:
        return Verdict(Word.NOT_RUN, reason=f"no mode {rule['mode'] if not mode else against!r} was run")
    reduction = 1 - mode["saved_bytes"] / other["saved_bytes"]
    measured = f"bytes held {_held(other, mode)}{_gill_too(rule, results, against)}"
    held = {rule["mode"]: mode, against: other}
    numbers = tuple(Number(f"bytes held, {name}", "saved_bytes", (m["saved_bytes"],)) for name, m in held.items())
    if "tolerance" not in rule:
        return Verdict(Word.MEASURED, measured, f"{rule['mode']} against {against}; time: cost tables", numbers)
    close = abs(reduction - rule["claimed"]) <= rule["tolerance"]
    reason = f"claimed −{100 * rule['claimed']:.0f}%, tolerance {100 * rule['tolerance']:.0f} points"
    return Verdict(Word.REPRODUCED if close else Word.CONTRADICTED, measured, reason, numbers)


def _held(before: dict[str, float], after: dict[str, float]) -> str:
    """The change of bytes held and the two values, as −66.7% (3.00 → 1.00 MiB)."""
    change = f"−{decimals(100 * (1 - after['saved_bytes'] / before['saved_bytes']), 1)}%".replace("−−", "+")
    return f"{change} ({decimals(before['saved_bytes'] / 2**20, 2)} → {decimals(after['saved_bytes'] / 2**20, 2)} MiB)"


def _gill_too(rule: dict[str, Any], results: Results, against: str) -> str:
    modes = gill_modes(results) if rule.get("also") == "gill" else {}
    if not {rule["mode"], against} <= set(modes):
        return ""
    return f"; GILL's own three losses {_held(modes[against], modes[rule['mode']])}"


def judge_gradients(rule: dict[str, Any], results: Results) -> Verdict:
    """The relative difference of the gradients against the tolerance of float arithmetic.

    The measured text also tells GILL's own losses, and how far two half batches are from the whole.
    """
    memory = results.read(*results.memory)
    found = memory.get("max_gradient_difference", {})
    if rule["mode"] not in found:
        return Verdict(Word.NOT_RUN, reason=f"no gradient difference of {rule['mode']!r}")
    value, tolerance = float(found[rule["mode"]]), float(rule["tolerance"])
    word = Word.REPRODUCED if value <= tolerance else Word.CONTRADICTED
    told = [f"relative Δg = {scientific(value).text}"]
    gill = memory.get("gill", {}).get("max_gradient_difference", {})
    if rule["mode"] in gill:
        told.append(f"GILL's own losses {scientific(float(gill[rule['mode']])).text}")
    if additive := memory.get("additivity"):
        halves = ", ".join(f"{name} {scientific(float(additive[key])).text}" for key, name in ADDITIVE.items())
        told.append(f"half batches against the whole: {halves}")
    behind = Number(f"relative Δg, {rule['mode']}", "gradient_difference", (value,))
    return Verdict(word, "; ".join(told), f"tolerance {scientific(tolerance).text}", (behind,))


def judge_total(rule: dict[str, Any], results: Results) -> Verdict:
    """Weights and the step's peak together in GB, of the rule's modes; told at Kolors' real size alone."""
    memory = results.read(*results.memory)
    if memory.get("size") != "kolors":
        return Verdict(Word.NOT_HERE, reason=f"needs {rule['needs']}")
    modes = memory_modes(results)
    told = (f"{m} {decimals((modes[m]['static_bytes'] + modes[m]['peak_bytes']) / 1e9, 1)} GB" for m in rule["modes"])
    reason = f"batch {memory['batch']}, precision {memory['precision']}; weights, activations and gradients"
    return Verdict(Word.MEASURED, "; ".join(told), f"{reason}, without the optimiser's state")


def judge_placement(rule: dict[str, Any], results: Results) -> Verdict:
    """Success of the reference arm above a level, and above the base by a gain; both with their intervals."""
    arm, values = results.reference, results.seeds(results.reference, "success50")
    success, numbers = estimate(values), [Number(f"{arm}, success@0.5", "success50", tuple(values))]
    measured, parts = f"success@0.5 {number(success).text}", [(success, float(rule["above"]))]
    if results.base is not None:
        gains = differences(*results.both(arm, results.base, "success50"))
        gain = estimate(gains)
        measured += f"; gain over base {signed(gain).text}"
        parts.append((gain, float(rule["gain"])))
        numbers.append(Number(f"{arm} − {results.base}, success@0.5", "success50", tuple(gains)))
    word = Word.NOT_SHOWN
    if all(e.half is not None and e.low > limit for e, limit in parts):
        word = Word.REPRODUCED
    elif any(e.half is not None and e.high < limit for e, limit in parts):
        word = Word.CONTRADICTED
    return Verdict(word, measured, f"{arm}; wanted > {rule['above']} and > +{rule['gain']}", tuple(numbers))


def judge_size(rule: dict[str, Any], results: Results) -> Verdict:
    """Adapter parameters over UNet parameters."""
    parameters = results.read(*results.memory).get("parameters")
    if not isinstance(parameters, dict) or not {"adapter", "unet"} <= set(parameters):
        return Verdict(Word.NOT_RUN, reason="memory.json has no parameter counts")
    share = parameters["adapter"] / parameters["unet"]
    told = f"{decimals(100 * share, 1)}% ({parameters['adapter']:,} of {parameters['unet']:,})"
    word = Word.REPRODUCED if share < rule["below"] else Word.CONTRADICTED
    numbers = tuple(Number(f"parameters, {k}", "parameters", (float(parameters[k]),)) for k in ("adapter", "unet"))
    return Verdict(word, told, "adapter over UNet parameters", numbers)


def judge_value(rule: dict[str, Any], results: Results) -> Verdict:
    """Metrics told beside the claim, without a verdict; `metrics` maps their names to words."""
    place = {"data": results.data, "planner": results.planner}[rule["place"]]
    score = results.read(*place)
    metrics, counts = score.get("metrics", {}), score.get("counts", {})
    if absent := [name for name in rule["metrics"] if name not in metrics]:
        return Verdict(Word.NOT_RUN, reason=rule.get("without", f"{place[0]} has no {absent[0]}"))
    told = (f"{words} {number(float(metrics[name])).text}" for name, words in rule["metrics"].items())
    numbers = (Number(f"{words}", k, (float(metrics[k]),), counts.get(k)) for k, words in rule["metrics"].items())
    return Verdict(Word.MEASURED, "; ".join(told), rule.get("by", ""), tuple(numbers))


def judge_elsewhere(rule: dict[str, Any], _: Results) -> Verdict:
    return Verdict(Word.NOT_HERE, reason=f"needs {rule['needs']}")


RULES: dict[str, Rule] = {
    "paired": judge_paired,
    "binding": judge_binding,
    "reduction": judge_reduction,
    "gradients": judge_gradients,
    "total": judge_total,
    "placement": judge_placement,
    "size": judge_size,
    "value": judge_value,
    "elsewhere": judge_elsewhere,
}
