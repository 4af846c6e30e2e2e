"""How the figures look: fonts, colours (Okabe and Ito's, safe for colour-blind readers) and how they are
saved.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib import font_manager
from matplotlib.figure import Figure

from gillnext.config.model import Arm
from gillnext.runtime.errors import UserError

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
GREYS = ("#A6A6A6", "#5A5A5A", "#D0D0D0")
INK, GREY, PALE = "#222222", "#767676", "#D9D9D9"
CJK = "Noto Sans CJK SC"
COLUMN, PAGE = 3.35, 7.0  # inches: one column of the paper, and both

Drawn = tuple[Figure, str]  # and its caption


def font_folder() -> Path:
    """The folder of Noto CJK in the installed `mplfonts`; nothing of that package is run."""
    spec = importlib.util.find_spec("mplfonts")
    folder = Path(str(spec.origin)).parent / "fonts" if spec else None
    if folder is None or not (folder / "NotoSansCJKsc-Regular.otf").exists():
        raise UserError("no Chinese font", where="package mplfonts", remedy="install the locked environment again")
    return folder


def use() -> None:
    """Register the Chinese font by its path and set the style of every figure."""
    font_manager.fontManager.addfont(str(font_folder() / "NotoSansCJKsc-Regular.otf"))
    matplotlib.rcdefaults()
    matplotlib.rcParams.update({
        "font.family": ["DejaVu Sans", CJK],
        "font.size": 7.5, "axes.labelsize": 7.5, "axes.titlesize": 8, "legend.fontsize": 7,
        "xtick.labelsize": 7, "ytick.labelsize": 7, "axes.titlelocation": "left",
        "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.6, "axes.edgecolor": GREY,
        "axes.labelcolor": INK, "text.color": INK, "xtick.color": GREY, "ytick.color": GREY,
        "xtick.labelcolor": INK, "ytick.labelcolor": INK, "xtick.major.width": 0.6, "ytick.major.width": 0.6,
        "xtick.major.size": 2.5, "ytick.major.size": 2.5, "lines.linewidth": 1.4, "legend.frameon": False,
        "axes.axisbelow": True, "axes.unicode_minus": True, "figure.dpi": 150, "savefig.dpi": 200,
        "svg.fonttype": "path", "svg.hashsalt": "gillnext",
    })  # fmt: skip


def arm_colours(arms: Mapping[str, Arm]) -> dict[str, str]:
    """One colour an arm, by its place in the config; greys for arms without an adapter."""
    trained = [name for name, arm in arms.items() if arm.site != "none"]
    others = [name for name in arms if name not in trained]
    greys = {name: GREYS[i % len(GREYS)] for i, name in enumerate(others)}
    return greys | {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(trained)}


def plot(width: float, height: float, columns: int = 1) -> tuple[Figure, Any]:
    """A figure of that size in inches and its axes (an array of them for more than one column)."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(1, columns, sharey=columns > 1)


def legend(figure: Figure, axes: Any, columns: int = 3, handle: float = 2.2) -> None:
    """Above the plot, so that nothing runs through it: of `columns` at most, a handle's length in the font's size."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        place: dict[str, Any] = {"loc": "outside upper center", "ncols": min(len(labels), columns)}
        figure.legend(handles, labels, handlelength=handle, **place)


def save(figure: Figure, folder: Path, name: str) -> None:
    """`name`.svg for the paper and `name`.png for readers; no dates in them, so the same figure has the
    same bytes.
    """
    drop: dict[str, Any] = {"Date": None, "Creator": None}
    figure.savefig(folder / f"{name}.svg", metadata=drop)
    figure.savefig(folder / f"{name}.png", metadata={"Software": None})


def quiet_grid(axes: Any) -> None:
    """Horizontal hairlines only."""
    axes.grid(axis="y", color=PALE, linewidth=0.5)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
