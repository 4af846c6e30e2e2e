"""The figures of Learnable Regions: edits with their boxes, and success against the chosen area."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from gillnext.layouts import Layout
from gillnext.paper import style
from gillnext.paper.panels import enlarged, panel
from gillnext.paper.style import Drawn
from gillnext.regions.keep import Shown
from gillnext.supplement import regions

TEXT, GAP, TITLE = 0.24, 0.04, 0.2  # inches: a row's prompts, what lies between, a heading
ROWS = 6  # edits that fit a page, with its caption
COLUMNS = {
    "filled/learned": "learned", "filled/random": "random + ranking", "filled/centre": "centre",
    "filled/whole": "whole", "filled/true": "true box", "kept/learned": "learned,\n4 channels",
}  # fmt: skip


def edits(shown: Shown) -> Drawn | None:
    """The first edits of each kind: source, and each way with its box."""
    rows = shown.rows[:ROWS]
    if not rows:
        return None
    cells = 1 + len(COLUMNS)
    side = (style.PAGE - GAP * (cells - 1)) / cells
    height = TITLE + len(rows) * (side + TEXT)
    figure = Figure(figsize=(style.PAGE, height))

    def spot(column: int, top: float) -> tuple[float, float, float, float]:
        return column * (side + GAP) / style.PAGE, (top - side) / height, side / style.PAGE, side / height

    for c, title in enumerate(("source, true box", *COLUMNS.values())):
        place = ((c * (side + GAP) + side / 2) / style.PAGE, (height - TITLE / 2) / height)
        figure.text(*place, title, ha="center", va="center", fontsize=5.8, color=style.GREY, linespacing=1.0)
    for r, row in enumerate(rows):
        top = height - TITLE - r * (side + TEXT)
        before, after = row["prompts"]
        figure.text(0.0, (top - TEXT / 2) / height, f"{before} → {after}", fontsize=5.8, va="center", color=style.INK)
        true = Layout("", ("",), (tuple(row["box"]),))
        pixels = enlarged(shown.image(f"source/{row['file']}"))
        panel(figure.add_axes(spot(0, top - TEXT)), true, pixels)
        for c, way in enumerate(COLUMNS, 1):
            if way in row["ways"]:
                box = Layout("", ("",), (tuple(row["ways"][way]["box"]),))
                panel(figure.add_axes(spot(c, top - TEXT)), box, enlarged(shown.image(f"{way}/{row['file']}")))
    return figure, (
        f"The first {len(rows)} test edits, not picked. Boxes: of the source the true one, of the others the one that "
        "was filled."
    )


def trade(scores: dict[str, Any]) -> Drawn | None:
    """How often an edit is made where it was meant, against how large the chosen box is."""
    figure, axes = style.plot(style.COLUMN, 2.2)
    for k, name in enumerate(name for name in regions.FILLED if name in scores["filled"]):
        ways = scores["filled"][name]["ways"]
        for way in (way for way in regions.WAYS if way in ways and way != "unchanged"):
            found = ways[way]["named"]["scores"]
            x, y = found["area"]["value"], found["success"]["value"]
            if x is None or y is None:
                continue
            low, high = found["success"]["interval"]
            axes.errorbar(
                [x], [y], yerr=[[max(y - low, 0)], [max(high - y, 0)]], color=style.COLOURS[k], marker="os"[k],
                markersize=3.5, linewidth=0.8,
            )  # fmt: skip
            axes.annotate(way, (x, y), textcoords="offset points", xytext=(4, 3), fontsize=5.5, color=style.INK)
        axes.plot(
            [], [], color=style.COLOURS[k], marker="os"[k], markersize=3.5, linewidth=0, label=regions.FILLED[name]
        )
    axes.set(xscale="log", ylim=(-0.03, 1.05), xlabel="chosen ÷ true area", ylabel="found in the true box")
    style.legend(figure, axes)
    return figure, "Edits whose object the source prompt names: found in its box, against the chosen area. Bars: 95%."


def figures(scores: dict[str, Any], shown: Path) -> dict[str, Drawn | None]:
    """The figures of Learnable Regions, by name; `shown` is the archive of `gillnext region_pictures`."""
    return {"regions_edits": edits(Shown(shown)), "regions_trade": trade(scores)}
