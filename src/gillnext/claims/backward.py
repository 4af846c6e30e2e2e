"""The rules about one training step: bytes held for backward, gradients, and the size of what is trained."""

from __future__ import annotations

from typing import Any

from gillnext.claims.verdicts import Number, Verdict, Word
from gillnext.record.results import Results
from gillnext.tables.memory import memory_modes, modes_of
from gillnext.tables.table import decimals, scientific

ADDITIVE = {"infonce": "InfoNCE", "denoising": "denoising"}
SHAPED = {"gill": "a model of GILL's shape", "gill_l2": "the same with GILL's own L2 in place of the UNet"}
STATE = 3 * 4  # bytes of a trained parameter's gradient and Adam's two moments, in float32


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

    With `also: gill` the measured text tells the losses of GILL's shape too, and with `state: adam` what the gradient
    and Adam's moments add; the verdict is that of the bytes held by three UNet forwards.
    """
    mode, other, against = _mode(results, rule)
    if not mode or other is None:
        return Verdict(Word.NOT_RUN, reason=f"no mode {rule['mode'] if not mode else against!r} was run")
    reduction = 1 - mode["saved_bytes"] / other["saved_bytes"]
    measured = f"bytes held {_held(other, mode)}{_gill_too(rule, results, against)}{_state_too(rule, other, mode)}"
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
    more = ""
    for workload, words in SHAPED.items() if rule.get("also") == "gill" else ():
        modes = modes_of(results, workload)
        if {rule["mode"], against} <= set(modes):
            more += f"; {words} {_held(modes[against], modes[rule['mode']])}"
    return more


def _state_too(rule: dict[str, Any], before: dict[str, float], after: dict[str, float]) -> str:
    """The same with the gradient and Adam's state of what is trained."""
    if rule.get("state") != "adam" or "trained_parameters" not in after:
        return ""
    whole = ({"saved_bytes": m["saved_bytes"] + STATE * m["trained_parameters"]} for m in (before, after))
    return f"; with gradients and Adam's moments {_held(*whole)}"


def judge_gradients(rule: dict[str, Any], results: Results) -> Verdict:
    """The relative difference of the gradients against the tolerance of float arithmetic.

    The measured text also tells the losses of GILL's shape, and how far two half batches are from the whole.
    """
    memory = results.memory
    found = memory.get("max_gradient_difference", {})
    if rule["mode"] not in found:
        return Verdict(Word.NOT_RUN, reason=f"no gradient difference of {rule['mode']!r}")
    value, tolerance = float(found[rule["mode"]]), float(rule["tolerance"])
    word = Word.REPRODUCED if value <= tolerance else Word.CONTRADICTED
    parts = [f"relative Δg = {scientific(value).text}"]
    gill = memory.get("gill", {}).get("max_gradient_difference", {})
    if rule["mode"] in gill:
        parts.append(f"{SHAPED['gill']} {scientific(float(gill[rule['mode']])).text}")
    if additive := memory.get("additivity"):
        halves = ", ".join(f"{name} {scientific(float(additive[key])).text}" for key, name in ADDITIVE.items())
        parts.append(f"half batches against the whole: {halves}")
    behind = Number(f"relative Δg, {rule['mode']}", "gradient_difference", (value,))
    return Verdict(word, "; ".join(parts), f"tolerance {scientific(tolerance).text}", (behind,))


def judge_total(rule: dict[str, Any], results: Results) -> Verdict:
    """Weights and the step's peak together in GB, of the rule's modes; stated at Kolors' real size alone."""
    memory = results.memory
    if memory.get("size") != "kolors":
        return Verdict(Word.NOT_HERE, reason=f"needs {rule['needs']}")
    modes = memory_modes(results)
    parts = (f"{m} {decimals((modes[m]['static_bytes'] + modes[m]['peak_bytes']) / 1e9, 1)} GB" for m in rule["modes"])
    reason = f"batch {memory['batch']}, precision {memory['precision']}; weights, activations and gradients"
    return Verdict(Word.MEASURED, "; ".join(parts), f"{reason}, without the optimiser's state")


def judge_size(rule: dict[str, Any], results: Results) -> Verdict:
    """Adapter parameters over UNet parameters."""
    parameters = results.memory.get("parameters")
    if not isinstance(parameters, dict) or not {"adapter", "unet"} <= set(parameters):
        return Verdict(Word.NOT_RUN, reason="memory.json has no parameter counts")
    share = parameters["adapter"] / parameters["unet"]
    measured = f"{decimals(100 * share, 1)}% ({parameters['adapter']:,} of {parameters['unet']:,})"
    word = Word.REPRODUCED if share < rule["below"] else Word.CONTRADICTED
    numbers = tuple(Number(f"parameters, {k}", "parameters", (float(parameters[k]),)) for k in ("adapter", "unet"))
    reason = f"adapter over UNet parameters; {'as' if share < rule['below'] else 'not as'} claimed"
    return Verdict(word, measured, reason, numbers)
