"""Reads what was measured on one GPU at Kolors' real size, with random weights: `reference/measured`, `make bench-gpu`.

gpu = read([Path("reference/measured/kolors.json"), Path("reference/measured/language.json")])
gpu.training("attn2", 8)["step_seconds"]
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gillnext.runtime import files
from gillnext.runtime.errors import UserError

PARTS = ("kolors", "language")


@dataclass(frozen=True)
class Gpu:
    """The device's name, and the two files: Kolors' UNet and autoencoder, and the language models."""

    device: str
    kolors: dict[str, Any]
    language: dict[str, Any]

    @property
    def where(self) -> str:
        """One such device, in print."""
        return f"one {self.device}, random weights"

    @property
    def memory(self) -> dict[str, Any]:
        """What `memory.json` of a run would hold, at Kolors' size; {} where it was not measured."""
        return self.kolors.get("memory", {})

    @property
    def figures(self) -> dict[str, dict[str, Any]]:
        """What was measured of the language models, by name."""
        return self.language.get("figures", {})

    def training(self, arm: str, batch: int, recomputed: bool = False) -> dict[str, Any] | None:
        """An arm's steps at a batch, activations kept or recomputed; None where these were not run to their end."""
        found = self.kolors.get("training", {}).get(f"{arm}, batch {batch}{', recomputed' * recomputed}", {})
        return found if "step_seconds" in found else None

    def batches(self, arm: str) -> list[int]:
        """The batches that an arm was trained with, in order."""
        found = (name.removeprefix(f"{arm}, batch ") for name in self.kolors.get("training", {}))
        return sorted(int(batch) for batch in found if batch.isdecimal())

    def annotation(self) -> dict[str, Any] | None:
        """The vision-language annotator at the batch with the most images a second; None where it was not run."""
        found = (row for name, row in self.figures.items() if name.startswith("annotation, batch "))
        whole = [row for row in found if row.get("images_per_second") and row["answer_tokens"] > 1]
        return max(whole, key=lambda row: row["images_per_second"], default=None)


def read(paths: Iterable[Path]) -> Gpu | None:
    """The files `kolors.json` and `language.json` of one GPU, in any order; None of none.

    `UserError` where one of the two is not there, where they are of toy sizes, or of different devices.
    """
    given = {path.stem: path for path in paths}
    if not given:
        return None
    if absent := [part for part in PARTS if part not in given or not given[part].exists()]:
        where = str(next(iter(given.values())).with_name(f"{absent[0]}.json"))
        raise UserError("not there", where=where, remedy="give kolors.json and language.json of `make bench-gpu`")
    kolors, language = (files.read_json(given[part]) for part in PARTS)
    for part, found in zip(PARTS, (kolors, language), strict=True):
        if found.get("toy", True):
            remedy = "measure it on a GPU: make bench-gpu"
            raise UserError("of toy sizes, which say nothing of real ones", where=str(given[part]), remedy=remedy)
    if kolors["device"] != language["device"]:
        message = f"of {kolors['device']}, and {given['language'].name} of {language['device']}"
        raise UserError(message, where=str(given["kolors"]), remedy="measure both on one device")
    return Gpu(kolors["device"], kolors, language)
