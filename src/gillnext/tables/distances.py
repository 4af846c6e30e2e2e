"""Distances of the pictures to real ones by several networks: do these put the arms in the same order?"""

from __future__ import annotations

from gillnext.record.results import Results
from gillnext.tables.order import disagreements, opposed, pairs_of

# By EfficientNet-Lite0, behind KID where the run has it (`score.second_features`): metric, (title, decimals).
SECOND_KID = ("kid_lite0", ("KID, Lite0 ↓", 3))


def has_second_kid(results: Results) -> bool:
    return results.has(results.first(), SECOND_KID[0])


def distances_notes(results: Results) -> list[str]:
    """A note on KID beside CMMD, and beside the second KID with what that is, where the run has one."""
    notes = [distances_note(results)]
    if has_second_kid(results):
        notes += [
            "KID, Lite0: by EfficientNet-Lite0, which was trained on photographs, and not here.",
            distances_note(results, SECOND_KID[0], "KID, Lite0"),
        ]
    return notes


def distances_note(results: Results, other: str = "cmmd", title: str = "CMMD") -> str:
    """Whether KID and another distance, which see pictures by different networks, put the arms in the same order."""
    total, apart = pairs_of(results), disagreements(results, "kid", other)
    if not apart:
        return f"KID and {title} put all {total} pairs of arms in the same order."
    clear, shown = [pair for pair in apart if opposed(results, *pair, "kid", other)], results.config.study.shown_arms
    named = [f"{b} is nearer than {a} by KID and farther by {title}" for a, b in clear if a in shown and b in shown]
    return (
        f"KID and {title} agree on the order of {total - len(apart)} of {total} pairs of arms; of the others seeds "
        f"tell {len(clear) or 'none'} apart by both{': among them, ' if named else ''}{'; '.join(named)}."
    )
