"""The memory of the backward pass as a result table: exact counts of bytes and the gradients' difference."""

from __future__ import annotations

from gillnext.runtime.errors import UserError
from gillnext.tables.collect import Results
from gillnext.tables.table import Cell, Column, Table, integer, number, scientific, text

MODES = {  # in the order of print
    "single": "one loss",
    "summed": "summed",
    "split": "split",
    "checkpointed": "checkpointed",
    "full": "full fine-tuning, one loss",
}
MIB = 2**20


def memory_modes(results: Results) -> dict[str, dict[str, float]]:
    """The modes of memory.json in the order of print; summed and split are required."""
    modes = results.read(*results.memory).get("modes", {})
    for mode in ("summed", "split"):
        if mode not in modes:
            where = str(results.root / results.memory[0])
            raise UserError(f"mode {mode!r} is missing", where=where, remedy="make it again with `gillnext memory`")
    known = [m for m in MODES if m in modes]
    return {m: modes[m] for m in [*known, *sorted(set(modes) - set(known))]}


def memory_table(results: Results) -> Table:
    """Bytes that the graph holds for the backward pass, and the gradients' difference from the summed one."""
    memory, modes = results.read(*results.memory), memory_modes(results)
    differences = memory.get("max_gradient_difference", {})
    summed = modes["summed"]
    rows = []
    for mode, values in modes.items():
        comparable = mode != "summed" and values["losses"] == summed["losses"]
        change = 100 * (values["saved_bytes"] / summed["saved_bytes"] - 1)
        rows.append(
            [
                text(MODES.get(mode, mode)),
                integer(values["losses"]),
                number(values["saved_bytes"] / MIB, 2),
                number(values["peak_bytes"] / MIB, 2) if "peak_bytes" in values else Cell("–"),
                number(change if comparable else None, 1),
                scientific(float(differences[mode])) if mode in differences else Cell("–"),
            ]
        )
    columns = [
        Column("mode", "backward", left=True),
        Column("losses", "losses"),
        Column("saved_mib", "held MiB"),
        Column("peak_mib", "peak MiB"),
        Column("against_summed", "held, %"),
        Column("gradient_difference", "relative Δg"),
    ]
    notes = [
        f"Batch {memory.get('batch', '–')}. Held: bytes that the graph keeps when the last forward before a backward "
        "has ended; peak: the most that was alive at once; both are exact counts. Percent and Δg: against summed."
    ]
    return Table("memory", "Memory of the backward pass", columns, rows, notes)
