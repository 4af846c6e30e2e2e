"""The rules about what training, filter and annotation cost on GPUs: bytes a card, seconds a step, items a second.

They judge at size, from what trainings (`Results.trained`), data stages (`Results.paces`) and the memory stage at
Kolors' size have measured; what a run lacks for a verdict is named. A claimed size is kept where the bytes are at most
as many GB of 10⁹ bytes, missed where they are more than as many of 2³⁰, and not decided between the two.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from gillnext.claims.backward import Mode, judge_reduction
from gillnext.claims.verdicts import MINIATURE_TIERS, Verdict, Word, conjunction, lacking
from gillnext.config.model import Arm
from gillnext.record.results import Results
from gillnext.roles.sources import OWN
from gillnext.statistics import Ratio, estimate, paired_ratio, ratio
from gillnext.tables.memory import memory_modes
from gillnext.tables.table import decimals, number

MODELS = {"filter": "classifier", "annotation": "annotator"}  # stage -> the role of its model
HOLDS = "weights, activations, gradients, Adam's moments and averaged weights"


def frozen(arm: Arm) -> Arm:
    """The arm with the UNet frozen, and the default of all that changes no cost of a step."""
    return replace(arm, unet_lr=0.0, steps=None, times_adapter_steps=1, lr=None, seeds=None)


def whole_unet(results: Results) -> str | None:
    """The arm that is the reference arm, but trains the UNet's own weights as well; None where there is none."""
    arms = results.config.study.arms
    reference = frozen(arms[results.reference])
    return next((name for name, arm in arms.items() if arm.unet_lr and frozen(arm) == reference), None)


def given(results: Results, role: str) -> bool:
    return getattr(results.config.models, role) not in OWN


def cards(results: Results) -> int:
    """GPUs that a training shares."""
    return results.config.adapter.processes * results.config.adapter.nodes


def fits(size: float, gigabytes: float) -> int:
    """+1 where `size` bytes are at most as many GB, −1 where they are more by either meaning of GB, else 0."""
    return 1 if size <= gigabytes * 1e9 else -1 if size > gigabytes * 2**30 else 0


def beyond(found: Ratio, bar: float) -> int:
    """+1 where the interval is at or above the bar, −1 where it is below, else 0."""
    return 1 if found.low >= bar else -1 if found.high < bar else 0


def times(found: Ratio, digits: int = 2) -> str:
    """A ratio in print: 2.31× (2.25 to 2.38)."""
    ends = f" ({decimals(found.low, digits)} to {decimals(found.high, digits)})" if found.known else ""
    return f"{decimals(found.value, digits)}×{ends}"


# Bytes of one step


def total_bytes(results: Results, mode: Mode) -> float:
    """What training holds at once: weights, a step's peak with its gradients, Adam's moments and averaged weights."""
    copies = 3 if results.config.adapter.ema else 2
    return mode["static_bytes"] + mode["peak_bytes"] + copies * 4 * mode["trained_parameters"]


def judge_total(rule: dict[str, Any], results: Results) -> Verdict:
    """What training holds at once, in the rule's modes, against as many GB each (`at_most`). Stated at Kolors' real
    size alone, of which a batch is one picture.
    """
    memory, bars = results.memory, rule["at_most"]
    if memory.get("size") != "kolors":
        return Verdict(Word.NOT_HERE, reason=f"needs {rule['needs']}")
    modes = memory_modes(results)
    if absent := [m for m in bars if m not in modes]:
        return Verdict(Word.NOT_RUN, reason=f"no mode {absent[0]!r} was run")
    totals = {m: total_bytes(results, modes[m]) for m in bars}
    measured = "; ".join(f"{m} {decimals(total / 1e9, 1)} GB" for m, total in totals.items())
    wanted = " and ".join(f"{bars[m]} GB" for m in bars)
    reason = f"wanted ≤ {wanted}; batch {memory['batch']}, precision {memory['precision']}, three denoising losses; "
    word = conjunction([fits(total, bars[m]) for m, total in totals.items()])
    return Verdict(word, measured, f"{reason}{HOLDS}, as torch allocates them")


# An adapter against the whole UNet


def judge_cheaper(rule: dict[str, Any], results: Results) -> Verdict:
    """An adapter's training against that of the whole UNet: memory less by `claimed`, a step `faster` times as fast.

    By the trainings themselves where both ran on GPUs with a given base, paired by seed; else by one step of the memory
    stage at Kolors' size. Elsewhere the bytes held for backward are told, and no verdict is given.
    """
    if found := _by_trainings(rule, results) or _by_one_step(rule, results):
        return found
    verdict = judge_reduction(rule, results)
    if results.config.run.tier in MINIATURE_TIERS or verdict.word != Word.MEASURED:
        return verdict
    return replace(verdict, reason=f"{verdict.reason}; a verdict needs {rule['needs']}")


def _by_trainings(rule: dict[str, Any], results: Results) -> Verdict | None:
    """By seconds and bytes of trainings that both arms' seeds tell; None where they do not."""
    full, arm = whole_unet(results), results.reference
    divided = results.config.adapter.sharding != "none" and cards(results) > 1
    if full is None or divided or not given(results, "base"):
        return None
    ratios = []
    for name in ("step_seconds", "gpu_bytes"):
        ours, theirs = results.trained(arm, name), results.trained(full, name)
        seeds = [seed for seed in ours if seed in theirs]
        if not seeds:
            return None
        ratios.append(paired_ratio([theirs[seed] for seed in seeds], [ours[seed] for seed in seeds]))
    faster, larger = ratios
    parts = [beyond(faster, rule["faster"]), beyond(larger, 1 / (1 - rule["claimed"]))]
    between = f" ({', '.join(percent(1 - 1 / end) for end in (larger.low, larger.high))})" if larger.known else ""
    measured = f"a step {times(faster)} as fast; GPU memory {percent(1 - 1 / larger.value)}{between}"
    reason = (
        f"{arm} against {full}, trainings paired over {len(seeds)} seed{'s' * (len(seeds) > 1)}; {wanted_savings(rule)}"
    )
    return Verdict(conjunction(parts), measured, reason + "; one seed decides nothing" * (len(seeds) == 1))


def _by_one_step(rule: dict[str, Any], results: Results) -> Verdict | None:
    """By one loss of the memory stage at Kolors' size; its time has no optimiser's step, which costs more the more is
    trained: a ratio that is large enough decides, one that is not leaves it open. None at another size.
    """
    modes = results.memory.get("modes", {})
    if results.memory.get("size") != "kolors" or not {rule["mode"], rule["against"]} <= set(modes):
        return None
    ours, theirs = modes[rule["mode"]], modes[rule["against"]]
    before, after = total_bytes(results, theirs), total_bytes(results, ours)
    faster, saved = theirs["seconds"] / ours["seconds"], 1 - after / before
    parts = [int(faster >= rule["faster"]), 1 if saved >= rule["claimed"] else -1]
    sizes = f"({decimals(before / 1e9, 1)} → {decimals(after / 1e9, 1)} GB)"
    measured = f"forward and backward {decimals(faster, 2)}× as fast; memory {percent(saved)} {sizes}"
    reason = f"one loss at Kolors' size, batch {results.memory['batch']}; {HOLDS}; without the optimiser's step"
    return Verdict(conjunction(parts), measured, f"{reason}; {wanted_savings(rule)}")


def percent(saved: float) -> str:
    """A share that is saved, as −40.0%; what is lost as +40.0%."""
    return f"−{decimals(100 * saved, 1)}%".replace("−−", "+")


def wanted_savings(rule: dict[str, Any]) -> str:
    """What an adapter's training has to save against that of the whole UNet."""
    return f"wanted ≥ {rule['faster']}× and {percent(rule['claimed'])} or less"


# Several GPUs


def judge_divided(rule: dict[str, Any], results: Results) -> Verdict:
    """Bytes a card of trainings of the whole UNet that several GPUs divide. The speed stands beside them: no run trains
    the same arm on one card as well.
    """
    adapter, full = results.config.adapter, whole_unet(results)
    held = results.trained(full, "gpu_bytes") if full else {}
    wanted = {
        "a given base (models.base)": given(results, "base"),
        "an arm that trains the UNet (unet_lr)": full is not None,
        "adapter.sharding: zero2": adapter.sharding == "zero2",
        f"{rule['cards']} processes (adapter.processes × nodes)": cards(results) == rule["cards"],
        f"{rule['batch']} pictures a card (adapter.batch)": adapter.batch == rule["batch"] * cards(results),
        "trainings on GPUs, which tell their bytes": bool(held),
    }
    if full is None or lacking(wanted):
        return Verdict(Word.NOT_HERE, reason=f"needs {lacking(wanted)}")
    most, seconds = max(held.values()), estimate(list(results.trained(full, "step_seconds").values()))
    measured = f"{decimals(most / 1e9, 1)} GB a card; {number(seconds, 2).text} s a step of {adapter.batch} pictures"
    reason = f"{full}; wanted ≤ {rule['gigabytes']} GB a card; its speed on one card is not in this run"
    return Verdict(conjunction([fits(most, rule["gigabytes"])], unmeasured=True), measured, reason)


def judge_speedup(rule: dict[str, Any], results: Results) -> Verdict:
    """How many times as fast several GPUs go through the items of a data stage as one: parts that were done by as many
    against parts that were done by one, for each stage of `faster`.
    """
    many, parts, measured, missing = rule["cards"], [], [], []
    for stage, bar in rule["faster"].items():
        rates = {n: [p.rate for p in results.paces(stage) if p.devices == n] for n in (1, many)}
        wanted = {f"{stage} by a given model (models.{MODELS[stage]})": given(results, MODELS[stage])}
        wanted |= {f"parts of {stage} that {n} GPU{'s' * (n > 1)} did (ray.actors)": bool(rates[n]) for n in rates}
        if absent := lacking(wanted):
            missing.append(absent)
            continue
        found = ratio(rates[many], rates[1])
        parts.append(beyond(found, bar))
        measured.append(f"{stage} {times(found)}, parts {len(rates[many])} and {len(rates[1])}")
    if missing:
        return Verdict(Word.NOT_HERE, reason=f"needs {'; '.join(missing)}")
    wanted_too = " and ".join(f"{stage} ≥ {bar}×" for stage, bar in rule["faster"].items())
    return Verdict(conjunction(parts), "; ".join(measured), f"{many} GPUs against one; wanted {wanted_too}")


def judge_rate(rule: dict[str, Any], results: Results) -> Verdict:
    """Images a second that annotation gets through: a card, over all parts, and by several GPUs together. How busy the
    GPUs are is measured nowhere.
    """
    annotator, paces = results.config.models.annotator, results.paces("annotation")
    wanted = {
        "a given vision-language annotator (models.annotator)": (
            given(results, "annotator") and results.config.annotate.backend in ("auto", "vlm")
        ),
        "parts that GPUs annotated": bool(paces),
    }
    if missing := lacking(wanted):
        return Verdict(Word.NOT_HERE, reason=f"needs {missing}")
    together = [pace.rate for pace in paces if pace.devices == rule["cards"]]
    rates = {"a card": ([pace.rate / pace.devices for pace in paces], rule["a_card"])}
    rates |= {f"on {rule['cards']}": (together, rule["together"])} if together else {}
    parts, measured = [], []
    for words, (values, bar) in rates.items():
        found = estimate(values)
        parts.append(beyond(Ratio(found.mean, found.low, found.high), bar))
        measured.append(f"{number(found, 2).text} images/s {words}, {found.n} part{'s' * (found.n > 1)}")
    reason = f"{Path(annotator).name}; wanted {_bars(rates.items())}"
    reason += "" if together else f"; no part was annotated on {rule['cards']} GPUs"
    return Verdict(
        conjunction(parts, unmeasured=True), "; ".join(measured), f"{reason}; how busy GPUs are is not measured"
    )


def _bars(rates: Iterable[tuple[str, tuple[list[float], float]]]) -> str:
    return " and ".join(f"≥ {bar} {words}" for words, (_, bar) in rates)
