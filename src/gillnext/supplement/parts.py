"""The parts of the supplement: each is a system that tells of its scores and pictures in tables, figures and text.

A part NAME has, in a run's results and in what is kept of it, `NAME.json` (its scores and their provenance) and
`NAME.zip` (the pictures that it shows), and for each further training `NAME-VARIANT.json`, which `scores["variants"]`
holds; its text is `paper/NAME.typ`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gillnext.paper.style import Drawn
from gillnext.supplement import frames, frames_figures, gill, gill_figures, regions, regions_figures
from gillnext.tables.table import Table

Scores = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """How a part is told. Names of tables and figures are its own among all parts.

    `command` makes its scores; `tables` are made of these; `numbers` are what its text quotes, by `NAME.…`; `figures`
    also read the archive of pictures, and one that this run cannot have is None.
    """

    command: str
    tables: Callable[[Scores], list[Table]]
    numbers: Callable[[Scores], dict[str, str]]
    figures: Callable[[Scores, Path], dict[str, Drawn | None]]


PARTS = {
    "gill": Part("converse", gill.tables, gill.numbers, gill_figures.figures),
    "regions": Part("region_scores", regions.tables, regions.numbers, regions_figures.figures),
    "frames": Part("edited", frames.tables, frames.numbers, frames_figures.figures),
}
