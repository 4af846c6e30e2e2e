"""All figures of a run."""

from pathlib import Path

from gillnext.config import Config
from gillnext.paper.figure import NAMES, figure


def draw_all(config: Config, root: Path, out: Path) -> list[str]:
    """Draw every figure of the record in `root` into a folder of `out` by its name; returns those that came out."""
    for name in NAMES:
        figure(name, config, root, out / name)
    return [name for name in NAMES if (out / name / f"{name}.svg").exists()]
