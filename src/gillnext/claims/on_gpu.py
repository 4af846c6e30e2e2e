"""The second verdict of claims about Kolors' real size: by what was measured on one GPU with random weights.

A run of miniatures cannot decide what a step at that size costs; `reference/measured` holds such steps (docs/gpu.md).
The verdict names the device and never takes the place of the run's own. It is a claim's `rule` with `on_gpu` on top.
Times are medians of a few repeats in one process, which have no interval: a part is decided where the slowest repeat
says the same. Bytes are exact counts of torch's allocator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from gillnext.claims.backward import judge_size
from gillnext.claims.costs import beyond, judge_total, percent, wanted_savings
from gillnext.claims.verdicts import Verdict, Word, conjunction
from gillnext.config import Config
from gillnext.record.gpu import Gpu
from gillnext.record.results import Results
from gillnext.statistics import Ratio
from gillnext.tables.table import decimals, in_percent

Rule = Callable[[dict[str, Any], Gpu], Verdict]
ALONE = "one process: no interval"


def gigabytes(size: float) -> str:
    return decimals(size / 1e9, 1)


def in_place_of_a_run(gpu: Gpu) -> Results:
    """The memory measurements as a run's, for the rules that read no more. Settings are the defaults, with which they
    were taken as far as these rules ask: averaged weights are kept.
    """
    results = Results("reference/measured", Config())
    results.memory = gpu.memory
    return results


def slower(after: dict[str, Any], before: dict[str, Any]) -> Ratio:
    """How many times as long a step takes; the ends are those of each one's slowest against the other's median."""
    times, other = after["step_seconds"], before["step_seconds"]
    return Ratio(times / other, times / before["slowest_step_seconds"], after["slowest_step_seconds"] / other)


def between(found: Ratio) -> str:
    """A ratio with what the slowest steps make of it: 1.27× (1.15 to 1.36)."""
    return f"{decimals(found.value, 2)}× ({decimals(found.low, 2)} to {decimals(found.high, 2)})"


def repeats(*rows: dict[str, Any]) -> str:
    """How many steps these medians are of: n 6, or n 5 to 6."""
    counts = sorted({row["repeats"] for row in rows})
    return f"n {' to '.join(map(str, (counts[0], counts[-1])[: len(counts)]))} steps"


def judge_reduction(rule: dict[str, Any], gpu: Gpu) -> Verdict:
    """Bytes held for backward by three UNet forwards, which the claim speaks of and which decide nothing: GILL's losses
    were not run at this size.
    """
    modes = gpu.memory.get("modes", {})
    before, after = (modes.get(rule[key], {}).get("saved_bytes") for key in ("against", "mode"))
    if before is None or after is None:
        return Verdict(Word.NOT_RUN, reason=f"no modes {rule['mode']!r} and {rule['against']!r}")
    sizes = f"({gigabytes(before)} → {gigabytes(after)} GB)"
    measured = f"bytes held, three UNet forwards {percent(1 - after / before)} {sizes}"
    return Verdict(Word.MEASURED, measured, f"{rule['by']}; GILL's own losses, which decide, were not run at this size")


def judge_recomputation(rule: dict[str, Any], gpu: Gpu) -> Verdict:
    """Training with activations recomputed against the same with them kept: bytes less by `claimed`, a step at most
    `slower` longer, at every batch that has both.
    """
    arm, parts, measured, rows = rule["arm"], [], [], []
    for batch in gpu.batches(arm):
        kept, again = gpu.training(arm, batch), gpu.training(arm, batch, recomputed=True)
        if kept is None or again is None:
            continue
        saved, longer = 1 - again["bytes_at_peak"] / kept["bytes_at_peak"], slower(again, kept)
        within = 1 if longer.high <= 1 + rule["slower"] else -1 if longer.low > 1 + rule["slower"] else 0
        parts += [1 if saved >= rule["claimed"] else -1, within]
        sizes = f"({gigabytes(kept['bytes_at_peak'])} → {gigabytes(again['bytes_at_peak'])} GB)"
        measured.append(f"batch {batch}: memory {percent(saved)} {sizes}, a step {between(longer)} as long")
        rows += [kept, again]
    if not parts:
        return Verdict(Word.NOT_RUN, reason=f"no batch of {arm} with and without recomputation")
    wanted = f"wanted {percent(rule['claimed'])} or less, at ≤ {decimals(1 + rule['slower'], 2)}×"
    return Verdict(conjunction(parts), "; ".join(measured), f"training of {arm}; {wanted}; {repeats(*rows)}, {ALONE}")


def judge_cheaper(rule: dict[str, Any], gpu: Gpu) -> Verdict:
    """Training of an adapter against that of the whole UNet, optimiser and all, at the largest batch that has both."""
    arm, full = rule["arm"], rule["against"]
    both = [batch for batch in gpu.batches(arm) if gpu.training(full, batch)]
    if not both:
        return Verdict(Word.NOT_RUN, reason=f"no batch of both {arm} and {full}")
    ours, theirs = gpu.training(arm, both[-1]), gpu.training(full, both[-1])
    assert ours is not None and theirs is not None
    faster, saved = slower(theirs, ours), 1 - ours["bytes_at_peak"] / theirs["bytes_at_peak"]
    parts = [beyond(faster, rule["faster"]), 1 if saved >= rule["claimed"] else -1]
    sizes = f"({gigabytes(theirs['bytes_at_peak'])} → {gigabytes(ours['bytes_at_peak'])} GB)"
    measured = f"a step {between(faster)} as fast; GPU memory {percent(saved)} {sizes}"
    counted = decimals(theirs["tflop_per_sample"] / ours["tflop_per_sample"], 2)
    reason = f"{arm} against {full}, batch {both[-1]}, at {in_percent(ours['share_of_peak'])} of the GPU's peak; "
    reason += f"by operations {counted}×; {wanted_savings(rule)}; "
    return Verdict(conjunction(parts), measured, f"{reason}{repeats(ours, theirs)}, {ALONE}")


def judge_rate(rule: dict[str, Any], gpu: Gpu) -> Verdict:
    """Images a second of the vision-language annotator on one card, and the share of time in which the GPU is busy."""
    row = gpu.annotation()
    if row is None:
        return Verdict(Word.NOT_RUN, reason="no annotator was run in batches")
    rates = sorted(row["images"] / seconds for seconds in row["seconds_a_run"])
    parts = [beyond(Ratio(row["images_per_second"], rates[0], rates[-1]), rule["a_card"])]
    busy = row.get("gpu_busy_mean")
    parts += [] if busy is None else [1 if busy > rule["busy"] else -1]
    ends = f"({decimals(rates[0], 1)} to {decimals(rates[-1], 1)}; n {row['repeats']} runs)"
    measured = f"{decimals(row['images_per_second'], 1)} images/s {ends}"
    measured += "" if busy is None else f"; GPU busy {in_percent(busy)} of the time"
    reason = f"{row['model'].split(',')[0]}, batch {row['batch']}, {row['answer_tokens']} tokens an answer; wanted ≥ "
    reason += f"{rule['a_card']} a card and > {in_percent(rule['busy'])} busy; the processor prepares pictures for "
    reason += f"{in_percent(row['processor_share'])} of the time; {rule['cards']} cards were not there"
    return Verdict(conjunction(parts, unmeasured=True), measured, reason)


def judge_adapter(rule: dict[str, Any], gpu: Gpu) -> Verdict:
    """Parameters of the adapter over the UNet's; beside it those of GLIGEN's own block, where it was trained."""
    verdict = judge_size(rule, in_place_of_a_run(gpu))
    gated = next((row for batch in gpu.batches("gated") if (row := gpu.training("gated", batch))), None)
    if gated is None or not verdict.measured:
        return verdict
    block = in_percent(gated["trained_parameters"] / gpu.memory["parameters"]["unet"])
    return replace(verdict, measured=f"{verdict.measured}; GLIGEN's own block, an arm of its own, {block}")


RULES: dict[str, Rule] = {
    "reduction": judge_reduction,
    "recomputation": judge_recomputation,
    "size": judge_adapter,
    "cheaper": judge_cheaper,
    "rate": judge_rate,
    "total": lambda rule, gpu: judge_total(rule, in_place_of_a_run(gpu)),
}


def second(rule: dict[str, Any], own: Verdict, results: Results, gpu: Gpu) -> Verdict | None:
    """The verdict by the GPU's measurements; None where the run has its own of that size.

    `rule`: the claim's with its `on_gpu` on top; `own`: the run's verdict.
    """
    if rule["kind"] == "rate":
        measured = own.word not in (Word.NOT_HERE, Word.NOT_RUN)
    else:
        measured = results.memory.get("size") == "kolors"
    return None if measured else RULES[rule["kind"]](rule, gpu)
