"""The figures of end-to-end GILL: conversations with what was drawn of them, and what context brings."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from gillnext.paper import style
from gillnext.paper.panels import enlarged, panel
from gillnext.paper.style import Drawn
from gillnext.supplement.gill import KINDS
from gillnext.supplement.illustrate import Shown

TEXT, GAP, TITLE = 0.30, 0.04, 0.22  # inches: a sentence, what lies between, a heading
COLUMNS = {"last": "last turn,\ntext encoder", "gill-pictures": "GILL", "next": "GILL-Next,\nplanned boxes"}


def _wrapped(words: str, width: int = 10) -> str:
    return "\n".join(words[i : i + width] for i in range(0, len(words), width))


def stories(shown: Shown) -> Drawn | None:
    """Stories with the pictures that they show, and what three ways draw at their end; None without stories."""
    rows = [row for row in shown.rows if row.kind == "story"]
    if not rows:
        return None
    turns = max(len(row.turns) for row in rows)
    cells = turns + len(COLUMNS)
    side = (style.PAGE - GAP * (cells - 1)) / cells
    height = TITLE + len(rows) * (side + TEXT)
    figure = Figure(figsize=(style.PAGE, height))

    def spot(column: int, top: float) -> tuple[float, float, float, float]:
        return column * (side + GAP) / style.PAGE, (top - side) / height, side / style.PAGE, side / height

    def words(column: int, y: float, text: str, **kind: Any) -> None:
        figure.text((column * (side + GAP) + side / 2) / style.PAGE, y / height, text, ha="center", va="center", **kind)

    words(turns // 2, height - TITLE / 2, "what is said, and the picture that shows it", fontsize=6.5, color=style.GREY)
    for c, (_, title) in enumerate(COLUMNS.items()):
        words(turns + c, height - TITLE / 2, title, fontsize=5.6, color=style.GREY, linespacing=1.0)
    for r, row in enumerate(rows):
        top = height - TITLE - r * (side + TEXT)
        for c, turn in enumerate(row.turns):
            words(c, top - TEXT / 2, _wrapped(turn.text), fontsize=5.0, color=style.INK, linespacing=1.05)
            if turn.layout and turn.picture:
                panel(figure.add_axes(spot(c, top - TEXT)), _bare(turn.layout), enlarged(shown.image(turn.picture)))
        for c, way in enumerate(COLUMNS):
            pixels, layout = shown.drawn(way, row)
            boxes = layout if way == "next" else _bare(layout)
            panel(figure.add_axes(spot(turns + c, top - TEXT)), boxes, enlarged(pixels))
    return figure, (
        f"The first {len(rows)} test stories, not picked. Left the true pictures; right what of the last is drawn: by "
        "the text encoder from the last sentence, by GILL's mapper from all sentences and the four first pictures, and "
        "the same with the spatial adapter in boxes that the planner reads out of the story (drawn over it)."
    )


def _bare(layout: Any) -> Any:
    return type(layout)(layout.caption, (), ())


def _line(counts: list[int], place: Any, groups: list[dict[str, Any]], metric: str, colour: str, label: str) -> None:
    """A metric of groups over counts, with its interval as a band."""
    values = [group["metrics"][metric] for group in groups]
    low, high = np.transpose([group["intervals"][metric] for group in groups])
    place.plot(counts, values, color=colour, marker="o", markersize=3, label=label)
    place.fill_between(counts, low, high, color=colour, alpha=0.15, linewidth=0)


def context(scores: dict[str, Any]) -> Drawn | None:
    """Classes found and R@1 by how many turns are read; None where there are no stories."""
    ways, found = scores["generation"].get("story"), scores["retrieval"].get("story")
    if not ways or not found:
        return None
    figure, axes = style.plot(style.COLUMN, 1.9, columns=2)
    counts = [n for n in range(1, 6) if f"gill-{n}" in ways and str(n) in found]
    line = functools.partial(_line, counts)
    line(axes[0], [ways[f"gill-{n}"] for n in counts], "recall", style.COLOURS[0], "GILL")
    line(axes[1], [found[str(n)] for n in counts], "r1", style.COLOURS[0], "GILL")
    line(axes[1], [found[str(n)]["baseline"] for n in counts], "r1", style.COLOURS[1], "Chinese-CLIP")
    marked = (("caption", "true caption", style.GREYS[1], "bottom"), ("last", "last turn", style.GREYS[0], "top"))
    for name, words, colour, side in marked:
        level = ways[name]["metrics"]["recall"]
        axes[0].axhline(level, color=colour, linewidth=0.8, linestyle="--")
        axes[0].text(5, level, f"text encoder, {words}", fontsize=5.5, ha="right", va=side, color=colour)
    axes[0].axhline(ways["gill-5"]["chance"]["recall"], color=style.PALE, linewidth=0.8)
    axes[0].set(title="wanted classes found", xlabel="last turns that are read", ylim=(0, 1.05), xticks=counts)
    axes[1].set(title="R@1", xlabel="last turns that are read", xticks=counts)
    style.legend(figure, axes[1])
    return figure, (
        f"What context brings, of {ways['gill-5']['n']} test stories: classes of the last picture that the evaluator "
        "finds in what is drawn without boxes, and how often that picture is found first among all stories'. Bands: "
        "95% intervals over stories."
    )


def tokens(scores: dict[str, Any]) -> Drawn | None:
    """R@k of the gallery and classes found, by the number of [IMG] tokens; None where no other number was trained."""
    if not scores.get("variants"):
        return None
    trained = [scores, *scores["variants"].values()]
    alike = [found for found in trained if found["trained"] | {"images": 0} == scores["trained"] | {"images": 0}]
    if len(alike) < 2:
        return None
    alike.sort(key=lambda found: found["trained"]["images"])
    counts = [found["trained"]["images"] for found in alike]
    line = functools.partial(_line, counts)
    figure, axes = style.plot(style.COLUMN, 1.9, columns=2)
    for k, colour in zip((1, 5, 10), style.COLOURS, strict=False):
        asked = [found["retrieval"]["gallery"]["1"] for found in alike]
        line(axes[0], asked, f"r{k}", colour, f"R@{k}")
    for kind, colour in zip(scores["generation"], style.COLOURS[3:], strict=False):
        drawn = [found["generation"][kind]["gill-pictures"] for found in alike]
        line(axes[1], drawn, "recall", colour, KINDS.get(kind, kind))
    for place, title in zip(axes, ("gallery, by caption", "wanted classes found"), strict=True):
        place.set(title=title, xlabel="[IMG] tokens", ylim=(0, 1.05), xticks=counts)
        place.legend(fontsize=5.5, loc="lower right")
    return figure, (
        "A training for each number of [IMG] tokens: how often the gallery's picture of a caption is among the first k "
        "(the first token alone decides), and the classes in what GILL draws of conversations, which all of them "
        "tell the mapper. Bands: 95% intervals over pictures and conversations, of one training each."
    )


def figures(scores: dict[str, Any], shown: Path) -> dict[str, Drawn | None]:
    """The figures of GILL, by name; `shown` is the archive of `gillnext illustrate`."""
    return {"stories": stories(Shown(shown)), "context": context(scores), "tokens": tokens(scores)}
