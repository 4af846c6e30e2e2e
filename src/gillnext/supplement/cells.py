"""Cells that several parts of the supplement have: intervals of scores, and differences with theirs."""

from __future__ import annotations

from typing import Any

from gillnext.tables.table import Cell, decimals, span, text


def ends(group: dict[str, Any], metric: str, digits: int = 3) -> Cell:
    """The interval of a metric of a group of scores, as 0.971 to 0.990; a dash where it has none."""
    found = group.get("intervals", {}).get(metric)
    return text(span(found, digits) if found else "–")


def difference(found: dict[str, Any], digits: int = 3) -> Cell:
    """A difference with its interval, as +0.057 (0.017 to 0.097); a dash where there is none."""
    if found["value"] is None:
        return text("–")
    sign = "+" if found["value"] > 0 else ""
    return text(f"{sign}{decimals(found['value'], digits)} ({span(found['interval'], digits)})")
