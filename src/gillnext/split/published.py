"""What is asked of a folder of `gillnext heldout-from` that the settings name (`split.published`).

The Snakefile reads this module on hosts that have Snakemake alone: standard library only.
"""

from __future__ import annotations

from pathlib import Path

from gillnext.runtime.errors import UserError

FILES = ("test.jsonl", "names.txt", "prior.safetensors")


def check(folder: Path | str) -> None:
    """`UserError` where a file that drawing or scoring needs is missing; --train alone makes the chance level."""
    for name in FILES:
        if not (Path(folder) / name).is_file():
            raise UserError(
                f"no {name} in it",
                where=f"split.published: {folder}",
                remedy="make it: gillnext heldout-from FILE --form … --train results/TIER/split/train/*.jsonl …",
            )
