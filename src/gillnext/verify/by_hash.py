"""The row of the verification that compares two runs value by value, from the hashes that both hold."""

from __future__ import annotations

from pathlib import Path

from gillnext.verify import against
from gillnext.verify.hashes import read
from gillnext.verify.kept import HASHES
from gillnext.verify.report import FAIL, PASS, REPORTED, Row

PROMISE = "portable arithmetic promises equal values"


def values_row(root: Path, reference: Path) -> tuple[list[Row], list[str]]:
    """(The row, what a reader must know of it): no row where a run has no hashes."""
    lacking = [which for of, which in ((root, "This run"), (reference, "The kept run")) if not (of / HASHES).exists()]
    if lacking:
        have = "has" if len(lacking) == 1 else "have"
        return [], [f"{' and '.join(lacking).capitalize()} {have} no hashes of values: compared as in fast arithmetic."]
    mine, theirs = read(root / HASHES), read(reference / HASHES)
    found, unlike = against.differences(mine, theirs), against.unlike(mine, theirs)
    stages = len({*against.by_stage(mine), *against.by_stage(theirs)})
    promised = against.promised(mine, theirs)
    broken = [difference for difference in found if difference.stage in promised]
    differences = [f"not the same: {'; '.join(unlike)}"] if unlike else []
    if not found:
        what = f"values: {stages} stages equal, by hash"
        return [Row("", what, PASS, why="; ".join(differences))], []
    what = f"values: {stages - len(found)} of {stages} stages equal, by hash"
    first, *others = map(against.jobs_of, broken or found)
    why = [
        f"{PROMISE}; first {first}" if broken else f"first {first}",
        *([f"then {', '.join(others)}"] if others else []),
    ]
    return [Row("", what, FAIL if broken else REPORTED, why="; ".join([*why, *differences]))], []
