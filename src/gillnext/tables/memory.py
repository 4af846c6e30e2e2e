"""The memory of the backward pass as a result table: exact counts of bytes and the gradients' difference.

Workloads: three UNet forwards; captioning, retrieval and generation of a model of GILL's shape, through the
UNet and, as GILL itself has it, by the distance to the text encoder's states.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gillnext.record.results import Results
from gillnext.runtime.errors import UserError
from gillnext.tables.table import Column, Table, decimals, integer, number, scientific, text

MODES = {  # in the order of print
    "single": "one loss",
    "summed": "summed",
    "split": "split",
    "accumulated": "split, two halves",
    "checkpointed": "checkpointed",
    "full": "full, one loss",
}
WORKLOADS = {"unet": "UNet", "gill": "GILL-like", "gill_l2": "GILL, L2"}
MIB = 2**20
Modes = dict[str, dict[str, float]]


def ordered(modes: Modes) -> Modes:
    """The modes in the order of print."""
    known = [m for m in MODES if m in modes]
    return {m: modes[m] for m in [*known, *sorted(set(modes) - set(known))]}


def workloads(memory: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The parts of memory.json by workload: the file itself for three UNet forwards, and the others where they are."""
    return {"unet": memory} | {workload: memory[workload] for workload in WORKLOADS if workload in memory}


def memory_modes(results: Results) -> Modes:
    """The modes of three UNet forwards in the order of print; summed and split are required."""
    modes = results.memory.get("modes", {})
    for mode in ("summed", "split"):
        if mode not in modes:
            where = str(results.root / "memory.json")
            raise UserError(f"mode {mode!r} is missing", where=where, remedy="make it again with `gillnext memory`")
    return ordered(modes)


def modes_of(results: Results, workload: str) -> Modes:
    """The modes of one workload in the order of print; none where they were not measured."""
    return ordered(workloads(results.memory).get(workload, {}).get("modes", {}))


@dataclass(frozen=True)
class Step:
    """One way to run a step of a workload, among its other ways."""

    workload: str
    mode: str
    part: dict[str, Any]

    @property
    def values(self) -> dict[str, float]:
        return self.part["modes"][self.mode]

    def mib(self, key: str) -> float | None:
        return self.values[key] / MIB if self.values.get(key) is not None else None

    @property
    def change(self) -> float | None:
        """Percent of the bytes that summed holds; None for another number of losses."""
        modes = self.part["modes"]
        comparable = self.mode != "summed" and self.values["losses"] == modes["summed"]["losses"]
        return -100 * reduction(modes, self.mode) if comparable else None

    @property
    def difference(self) -> float | None:
        """Relative, of the gradients from summed."""
        return self.part.get("max_gradient_difference", {}).get(self.mode)


def steps(memory: dict[str, Any]) -> list[Step]:
    """Every workload's modes, in the order of print."""
    parts = workloads(memory).items()
    return [Step(workload, mode, part) for workload, part in parts for mode in ordered(part.get("modes", {}))]


def reduction(modes: Modes, mode: str, against: str = "summed") -> float:
    """The share of `against`'s bytes that `mode` does not hold."""
    return 1 - modes[mode]["saved_bytes"] / modes[against]["saved_bytes"]


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
    columns = {
        Column("workload", "losses of", left=True): lambda step: text(WORKLOADS[step.workload]),
        Column("mode", "backward", left=True): lambda step: text(MODES.get(step.mode, step.mode)),
        Column("losses", "losses"): lambda step: integer(step.values["losses"]),
        Column("saved_mib", "held MiB"): lambda step: number(step.values["saved_bytes"] / MIB, 2),
        Column("peak_mib", "peak MiB"): lambda step: number(step.mib("peak_bytes"), 2),
        Column("against_summed", "held, change in %"): lambda step: number(step.change, 1),
        Column("gradient_difference", "relative Δg"): lambda step: scientific(step.difference),
    }
    return Table.of("memory", "Memory of the backward pass", steps(memory), columns, *_notes(memory))
