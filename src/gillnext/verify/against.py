"""The hashes of two runs beside each other: what was promised to be equal, what is, and the first stage that is not.

Portable arithmetic promises equal values to two runs of the same settings, locks and code. Each stage is promised by
itself: where its code, or that of a stage that it needs, is another, its values may be others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gillnext.verify.inventory import EVERY, upstream
from gillnext.verify.settings import other_keys

PORTABLE = "portable"
# Settings that change no value: where a run comes from, what arithmetic was asked for (score files tell what it was),
# on how many devices, and how many links at a time.
INDIFFERENT = ("from_reference", "run.arithmetic", "ray.", "download.concurrency", "download.per_host")
Hashes = dict[str, Any]  # what hashes.json holds


@dataclass(frozen=True)
class Difference:
    """A stage whose values differ, and its jobs that do, or that one run lacks."""

    stage: str
    jobs: list[str]
    of: int


def by_stage(hashes: Hashes) -> dict[str, dict[str, Any]]:
    return {stage["stage"]: stage for stage in hashes["stages"]}


def differences(mine: Hashes, theirs: Hashes) -> list[Difference]:
    """Every stage whose hash is not the same in the two runs, in the workflow's order."""
    ours, others = by_stage(mine), by_stage(theirs)
    found = []
    for name in (name for name in EVERY if name in ours | others):
        jobs, kept = (of.get(name, {}).get("jobs", {}) for of in (ours, others))
        other = [job for job in jobs | kept if jobs.get(job) != kept.get(job)]
        if other:
            found.append(Difference(name, other, len(jobs | kept)))
    return found


def other_code(mine: Hashes, theirs: Hashes) -> list[str]:
    """Stages that both runs have with another code."""
    ours, others = by_stage(mine), by_stage(theirs)
    return [name for name in EVERY if name in ours and name in others and ours[name]["code"] != others[name]["code"]]


def conditions(mine: Hashes, theirs: Hashes) -> list[str]:
    """What the two runs were made with that is not the same, in words: arithmetic, locks, settings; not the code."""
    reasons = []
    for hashes, which in ((mine, "this run"), (theirs, "the kept run")):
        if hashes.get("arithmetic") != PORTABLE:
            reasons.append(f"{which} has {hashes.get('arithmetic') or 'no record of its'} arithmetic")
    if mine.get("lock") != theirs.get("lock") or not mine.get("lock"):
        reasons.append(f"locks: {mine.get('lock')} here, {theirs.get('lock')} kept")
    if settings := other_keys(mine["settings"], theirs["settings"], INDIFFERENT):
        reasons.append(f"settings: {'; '.join(settings)}")
    return reasons


def promised(mine: Hashes, theirs: Hashes) -> list[str]:
    """The stages whose values portable arithmetic promises to be equal in the two runs, in the workflow's order."""
    code, both = set(other_code(mine, theirs)), by_stage(mine).keys() & by_stage(theirs).keys()
    return [] if conditions(mine, theirs) else [name for name in EVERY if name in both and not code & {*upstream(name)}]


def unlike(mine: Hashes, theirs: Hashes) -> list[str]:
    """`conditions`, and the stages with another code."""
    code = other_code(mine, theirs)
    return conditions(mine, theirs) + ([f"code of {', '.join(code)}"] if code else [])


def jobs_of(difference: Difference, most: int = 6) -> str:
    """A stage with its jobs that differ, as base, or adapter (2 of 6 jobs: attn1/0, attn2/0)."""
    if difference.of == 1:
        return difference.stage
    names = [job.removeprefix(f"{difference.stage} ") for job in difference.jobs]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{difference.stage} ({len(names)} of {difference.of} jobs: {', '.join(names[:most])}{more})"


def judged(mine: Hashes, theirs: Hashes, name: str, renew: str) -> tuple[bool, str]:
    """Whether all values are equal, and a few lines that say so or where not; `renew` is the command that mends it."""
    made = f"{mine.get('arithmetic') or 'unknown'} arithmetic, {mine.get('processor') or 'unknown processor'}"
    kept = f"{theirs.get('arithmetic') or 'unknown'} arithmetic, {theirs.get('processor') or 'unknown processor'}"
    lines = [f"here: {made}", f"{name}: {kept}"]
    lines += [f"not the same: {one}" for one in unlike(mine, theirs)]
    found = differences(mine, theirs)
    if not found:
        jobs = sum(len(stage["jobs"]) for stage in mine["stages"])
        return True, "\n".join([*lines, f"equal: {len(mine['stages'])} stages, {jobs} jobs"])
    lines.append(f"differs first: {jobs_of(found[0])}")
    if found[1:]:
        lines.append(f"then: {', '.join(jobs_of(one) for one in found[1:])}")
    if found[0].stage in promised(mine, theirs):
        lines.append(
            "Arithmetic, locks, settings and the stage's code are the same: the values should be, and are not."
        )
    else:
        lines.append(f"Other values can come of what is not the same. If that is meant, renew the file: {renew}")
    return False, "\n".join(lines)
