"""The same pictures under several published definitions of mIoU and AP: how far apart, and is the order the same?"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

from gillnext.record.results import REAL, VAE, Results, Scored
from gillnext.tables.build import arm_and_seeds, over_seeds
from gillnext.tables.order import disagreements, opposed, pairs_of
from gillnext.tables.table import Cell, Column, Table, number, text

DEFINITIONS = {
    "mIoU": {
        "miou": "ours", "miou_overlaybench": "OverLayBench", "miou_migc": "MIGC", "miou_lgs": "InstanceAssemble",
    },
    "AP": {"ap": "COCO", "ap50": "COCO, 0.5", "ap_voc": "MIG-Bench"},
}  # fmt: skip
NOTES = (
    "mIoU, with 0 for what is not found. Ours: best one-to-one assignment within a class; OverLayBench (Li et al. "
    "2025, arXiv:2509.19282): pairs one to one by falling IoU, mean of images; MIGC (Zhou et al. 2024, "
    "arXiv:2402.05408): each box's largest IoU, detections from a score of 0.25; InstanceAssemble (Xiang et al. "
    "2025, arXiv:2509.16691): the same from 0.35, and 0 below IoU 0.5.",
    "AP, mean of classes. COCO: over IoU 0.50 to 0.95 and all detections, as GLIGEN (Li et al. 2023, "
    "arXiv:2301.07093); at IoU 0.5, as InstanceDiffusion (Wang et al. 2024, arXiv:2402.03290); MIG-Bench (Zhou et "
    "al.): VOC's area at 0.5, detections from 0.25.",
    "One detector for all. Spread: the highest less the lowest.",
)


def ordering(results: Results, kind: str) -> str:
    """One sentence on whether all definitions put every pair of arms in the same order by their means."""
    total, apart, clear = pairs_of(results), set(), set()
    for one, two in combinations(DEFINITIONS[kind], 2):
        for arms in disagreements(results, one, two):
            first, second = sorted(arms)
            apart.add(f"{first} and {second}")
            if opposed(results, first, second, one, two):
                clear.add(f"{first} and {second}")
    if not apart:
        return f"{kind}: all definitions put all {total} pairs of arms in the same order."
    clearly = f"told apart both ways by the seeds: {'; '.join(sorted(clear)) or 'none'}"
    return f"{kind}: the definitions disagree on the order of {len(apart)} of {total} pairs of arms; {clearly}."


def _of_arm(results: Results, kind: str) -> dict[Column, Callable[[str], Cell]]:
    """Columns of one kind of score over the seeds of an arm, by each definition, and of their spread."""
    names = DEFINITIONS[kind]

    def spread(arm: str) -> Cell:
        means = [results.over_seeds(arm, key).mean for key in names]
        return number(max(means) - min(means))

    columns = over_seeds(results, {key: (f"{kind}, {who}", 3) for key, who in names.items()})
    return columns | {Column(f"{kind.lower()}_spread", "spread"): spread}


def _of_ceiling(results: Results, of: Scored, kind: str) -> list[Cell]:
    values = [results.metric(of, key) for key in DEFINITIONS[kind]]
    return [*map(number, values), number(max(values) - min(values))]


def protocols_table(results: Results) -> Table | None:
    """Arms, then ceilings × definitions; None of a run that was scored before there were these."""
    if not results.has(results.first(), "miou_migc"):
        return None
    columns = arm_and_seeds(results)
    for kind in DEFINITIONS:
        columns |= _of_arm(results, kind)
    notes = [*NOTES, *(ordering(results, kind) for kind in DEFINITIONS)]
    title = "Definitions of mIoU and AP on the same pictures"
    table = Table.of("protocols", title, results.config.study.arms, columns, *notes)
    for of, name in ((REAL, "real images"), (VAE, "real, via VAE")):
        cells = [cell for kind in DEFINITIONS for cell in _of_ceiling(results, of, kind)]
        table.rows.append([text(name), number(None), *cells])
    return table
