"""The memory of the backward pass as a result table: exact counts of bytes and the gradients' difference.

Families of losses: three UNet forwards; captioning, retrieval and generation of a model of GILL's shape, through the
UNet and, as GILL itself has it, by the distance to the text encoder's states.
"""

from __future__ import annotations

from typing import Any

from gillnext.record.results import Results
from gillnext.runtime.errors import UserError
from gillnext.tables.table import Cell, Column, Table, decimals, integer, number, scientific, text

MODES = {  # in the order of print
    "single": "one loss",
    "summed": "summed",
    "split": "split",
    "accumulated": "split, two halves",
    "checkpointed": "checkpointed",
    "full": "full, one loss",
}
FAMILIES = {"unet": "UNet", "gill": "GILL-like", "gill_l2": "GILL, L2"}
MIB = 2**20
Modes = dict[str, dict[str, float]]


def ordered(modes: Modes) -> Modes:
    """The modes in the order of print."""
    known = [m for m in MODES if m in modes]
    return {m: modes[m] for m in [*known, *sorted(set(modes) - set(known))]}


def families(memory: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The parts of memory.json by family: the file itself for three UNet forwards, and the others where they are."""
    return {"unet": memory} | {family: memory[family] for family in FAMILIES if family in memory}


def memory_modes(results: Results) -> Modes:
    """The modes of three UNet forwards in the order of print; summed and split are required."""
    modes = results.memory.get("modes", {})
    for mode in ("summed", "split"):
        if mode not in modes:
            where = str(results.root / "memory.json")
            raise UserError(f"mode {mode!r} is missing", where=where, remedy="make it again with `gillnext memory`")
    return ordered(modes)


def modes_of(results: Results, family: str) -> Modes:
    """The modes of one of the further families in the order of print; none where they were not measured."""
    return ordered(results.memory.get(family, {}).get("modes", {}))


def reduction(modes: Modes, mode: str, against: str = "summed") -> float:
    """The share of `against`'s bytes that `mode` does not hold."""
    return 1 - modes[mode]["saved_bytes"] / modes[against]["saved_bytes"]


def _rows(family: str, modes: Modes, differences: dict[str, float]) -> list[list[Cell]]:
    rows = []
    for mode, values in modes.items():
        comparable = mode != "summed" and values["losses"] == modes["summed"]["losses"]
        rows.append(
            [
                text(FAMILIES[family]),
                text(MODES.get(mode, mode)),
                integer(values["losses"]),
                number(values["saved_bytes"] / MIB, 2),
                number(values["peak_bytes"] / MIB, 2) if "peak_bytes" in values else Cell("–"),
                number(-100 * reduction(modes, mode) if comparable else None, 1),
                scientific(float(differences[mode])) if mode in differences else Cell("–"),
            ]
        )
    return rows


def _notes(memory: dict[str, Any]) -> list[str]:
    how = "torch's accounting of the GPU" if memory.get("accounting") == "torch.cuda" else "exact counts"
    notes = [
        f"Batch {memory.get('batch', '–')}. Held: bytes that the graph keeps when the last forward before a backward "
        f"has ended; peak: the most that was alive at once; both are {how}. Percent and Δg: against summed. "
        "UNet: three denoising losses"
        + (" at Kolors' real size, with random weights." if memory.get("size") == "kolors" else ".")
    ]
    if "gill" in memory:
        tasks = memory["gill"].get("tasks", {})
        shares = ", ".join(f"{name} {decimals(held / MIB, 2)}" for name, held in tasks.items())
        notes[0] += " GILL-like: captioning, retrieval, and generation through the UNet, on one model" + (
            f"; each alone holds, in MiB: {shares}." if shares else "."
        )
    if "gill_l2" in memory:
        notes[0] += " GILL, L2: generation by the distance to the text encoder's states, as GILL has it."
    if additive := memory.get("additivity"):
        notes.append(
            f"Two half batches against the whole, Δg of one loss: InfoNCE {scientific(additive['infonce']).text}, "
            f"denoising {scientific(additive['denoising']).text}; so the GILL-like Δg with two halves is no rounding."
        )
    return notes


def memory_table(results: Results) -> Table:
    """Bytes that the graph holds for the backward pass, and the gradients' difference from the summed one."""
    memory = results.memory
    memory_modes(results)
    rows = [
        row
        for family, part in families(memory).items()
        for row in _rows(family, ordered(part["modes"]), part.get("max_gradient_difference", {}))
    ]
    columns = [
        Column("family", "losses of", left=True),
        Column("mode", "backward", left=True),
        Column("losses", "losses"),
        Column("saved_mib", "held MiB"),
        Column("peak_mib", "peak MiB"),
        Column("against_summed", "held, change in %"),
        Column("gradient_difference", "relative Δg"),
    ]
    return Table("memory", "Memory of the backward pass", columns, rows, _notes(memory))
