"""The rules about one training step: bytes held for backward, gradients, and the size of what is trained."""

from __future__ import annotations

from typing import Any

from gillnext.claims.verdicts import Number, Verdict, Word
from gillnext.record.results import Results
from gillnext.tables.memory import modes_of
from gillnext.tables.table import decimals, scientific

ADDITIVE = {"infonce": "InfoNCE", "denoising": "denoising"}
LOSSES = {
    "unet": "three UNet forwards",
    "gill": "a model of GILL's shape that generates through the UNet",
    "gill_l2": "GILL's own three losses, which run no UNet",
}
STATE = 3 * 4  # bytes of a trained parameter's gradient and Adam's two moments, in float32
Mode = dict[str, float]


def _pair(results: Results, workload: str, rule: dict[str, Any]) -> tuple[str, Mode | None, Mode | None]:
    """The name of the mode that the rule's is compared with, that mode, and the rule's; None where it was not run.

    `same losses` picks the plain mode with as many losses.
    """
    modes, against = modes_of(results, workload), rule["against"]
    mode = modes.get(rule["mode"])
    if mode is not None and against == "same losses":
        plain = (m for m in ("single", "summed") if m in modes and modes[m]["losses"] == mode["losses"])
        against = next(plain, "summed")
    return against, modes.get(against), mode


def judge_reduction(rule: dict[str, Any], results: Results) -> Verdict:
    """Bytes held for backward by one mode against another. A rule with a tolerance is decided by it; without one the
    bytes are only measured.

    All workloads of `decides` (where a rule names none: the three UNet forwards) must lie within the tolerance. Those
    of `also` are measured beside them. With `state: adam` the text adds the bytes of gradient and Adam's moments.
    """
    decides, parts, numbers, words = rule.get("decides", ["unet"]), [], [], []
    for workload in (*decides, *rule.get("also", [])):
        against, other, mode = _pair(results, workload, rule)
        if other is None or mode is None:
            if workload in decides:
                lacks = rule["mode"] if mode is None else against
                return Verdict(Word.NOT_RUN, reason=f"no mode {lacks!r} was run on {LOSSES[workload]}")
            continue
        parts.append(f"{LOSSES[workload]} {_held(other, mode)}{_state_too(rule, other, mode)}")
        if workload in decides:
            close = abs(1 - mode["saved_bytes"] / other["saved_bytes"] - rule["claimed"]) <= rule.get("tolerance", 1)
            words.append(Word.REPRODUCED if close else Word.CONTRADICTED)
            before = "bytes held" if decides == ["unet"] else f"bytes held, {LOSSES[workload]}"
            held = {rule["mode"]: mode, against: other}
            numbers += [Number(f"{before}, {name}", "saved_bytes", (m["saved_bytes"],)) for name, m in held.items()]
    measured = f"bytes held, {'; '.join(parts)}"
    if "tolerance" not in rule:
        reason = f"{rule['mode']} against {rule['against']}; time: cost tables"
        return Verdict(Word.MEASURED, measured, reason, tuple(numbers))
    reason = f"claimed −{100 * rule['claimed']:.0f}%, tolerance {100 * rule['tolerance']:.0f} points"
    word = Word.REPRODUCED if set(words) == {Word.REPRODUCED} else Word.CONTRADICTED
    return Verdict(word, measured, reason + (f"; {rule['by']}" if "by" in rule else ""), tuple(numbers))


def _held(before: Mode, after: Mode) -> str:
    """The change of bytes held and the two values, as −66.7% (3.00 → 1.00 MiB)."""
    change = f"−{decimals(100 * (1 - after['saved_bytes'] / before['saved_bytes']), 1)}%".replace("−−", "+")
    return f"{change} ({decimals(before['saved_bytes'] / 2**20, 2)} → {decimals(after['saved_bytes'] / 2**20, 2)} MiB)"


def _state_too(rule: dict[str, Any], before: Mode, after: Mode) -> str:
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
        parts.append(f"{LOSSES['gill']} {scientific(float(gill[rule['mode']])).text}")
    if additive := memory.get("additivity"):
        halves = ", ".join(f"{name} {scientific(float(additive[key])).text}" for key, name in ADDITIVE.items())
        parts.append(f"half batches against the whole: {halves}")
    behind = Number(f"relative Δg, {rule['mode']}", "gradient_difference", (value,))
    return Verdict(word, "; ".join(parts), f"tolerance {scientific(tolerance).text}", (behind,))


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
