"""One table, formatted once, written three ways: CSV for programs, booktabs LaTeX for `\\input`, JSON for
the paper.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self, TypeVar

from gillnext.runtime import files
from gillnext.statistics import Estimate

NOTHING = "–"  # en dash: not applicable
Item = TypeVar("Item")


@dataclass(frozen=True)
class Cell:
    """A formatted value: `mean`, and `half` where there is an interval. `value` is the number behind it, if
    any.
    """

    mean: str
    half: str = ""
    value: float | None = None

    @property
    def text(self) -> str:
        return f"{self.mean} ± {self.half}" if self.half else self.mean


@dataclass(frozen=True)
class Column:
    """`key` names it in CSV, `title` in print; `interval` gives it a second CSV column `key_ci95`."""

    key: str
    title: str
    interval: bool = False
    left: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of cells under columns, with the caption and notes that print with them."""

    name: str
    title: str
    columns: list[Column]
    rows: list[list[Cell]]
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(
        cls, name: str, title: str, items: Iterable[Item], columns: Mapping[Column, Callable[[Item], Cell]], *notes: str
    ) -> Self:
        """A row an item: what each column makes of it."""
        rows = [[cell(item) for cell in columns.values()] for item in items]
        return cls(name, title, list(columns), rows, list(notes))

    @property
    def keys(self) -> list[str]:
        """What the columns of its CSV are called."""
        return [name for c in self.columns for name in ([c.key, f"{c.key}_ci95"] if c.interval else [c.key])]

    def records(self) -> list[dict[str, str]]:
        """The rows as CSV records, all strings."""
        cells = [zip(self.columns, row, strict=True) for row in self.rows]
        values = [
            [v for c, cell in row for v in ([cell.mean, cell.half] if c.interval else [cell.mean])] for row in cells
        ]
        return [dict(zip(self.keys, row, strict=True)) for row in values]


def decimals(value: float, digits: int) -> str:
    """`value` with `digits` decimals, a true minus sign, and no negative zero."""
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", "−")


def in_percent(share: float) -> str:
    """A share in whole percents, 0.87 as 87%."""
    return f"{decimals(100 * share, 0)}%"


def span(ends: Sequence[float], digits: int = 3) -> str:
    """An interval, as 0.971 to 0.990."""
    return " to ".join(decimals(end, digits) for end in ends)


def number(value: float | Estimate | None, digits: int = 3) -> Cell:
    """A number, or an estimate with its interval, as a cell; None prints as a dash."""
    if value is None:
        return Cell(NOTHING)
    if isinstance(value, Estimate):
        half = decimals(value.half, digits) if value.half is not None else ""
        return Cell(decimals(value.mean, digits), half, round(value.mean, 6))
    return Cell(decimals(value, digits), value=round(value, 6))


def signed(value: Estimate, digits: int = 3) -> Cell:
    """A difference: as `number`, with a plus where it is positive."""
    cell = number(value, digits)
    return replace(cell, mean=f"+{cell.mean}") if value.mean > 0 else cell


def integer(value: float | None) -> Cell:
    """A count, thousands parted by commas; None prints as a dash."""
    if value is None:
        return Cell(NOTHING)
    return Cell(f"{int(value):,}", value=float(value))


def scientific(value: float | None) -> Cell:
    """Two figures and a power of ten, as 1.2e−7; zero is 0, None a dash."""
    if value is None:
        return Cell(NOTHING)
    figures, power = f"{value:.1e}".split("e")
    return Cell(f"{figures}e{int(power)}".replace("-", "−") if value else "0", value=value)


def text(value: str) -> Cell:
    return Cell(value)


_TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "−": "$-$", "–": "--", "—": "---",
    "×": r"$\times$", "≤": r"$\le$", "≥": r"$\ge$", "→": r"$\to$", "‖": r"$\Vert$", "Δ": r"$\Delta$",
    "↑": r"$\uparrow$", "↓": r"$\downarrow$", "“": "``", "”": "''",
}  # fmt: skip


def escape(value: str) -> str:
    """Plain text as LaTeX: every special character of it is printed as itself."""
    return "".join(_TEX.get(character, character) for character in value)


def to_csv(table: Table) -> str:
    """Numbers as programs read them, with ASCII's minus and no commas; words as they are printed."""
    out = io.StringIO()
    writer = csv.DictWriter(out, table.keys, lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _plain(value) for key, value in record.items()} for record in table.records())
    return out.getvalue()


def _plain(value: str) -> str:
    plain = value.replace("−", "-").replace(",", "")
    try:
        float(plain)
    except ValueError:
        return value
    return plain


def to_tex(table: Table) -> str:
    """A `tabular` with booktabs rules, to be `\\input` inside a table environment."""
    lines = [
        f"% {table.title}. Written by `gillnext`; needs \\usepackage{{booktabs}}.",
        "\\begin{tabular}{" + "".join("l" if c.left else "r" for c in table.columns) + "}",
        "\\toprule",
        " & ".join(escape(c.title) for c in table.columns) + r" \\",
        "\\midrule",
        *(" & ".join(escape(cell.text) for cell in row) + r" \\" for row in table.rows),
        "\\bottomrule",
        "\\end{tabular}",
    ]
    return "\n".join(lines + [f"% {note}" for note in table.notes]) + "\n"


def numbers_tex(numbers: dict[str, str]) -> str:
    r"""The quoted numbers for a LaTeX text: `\num{reference.miou}` prints one, and an unknown key is an error."""
    lines = [
        "% The numbers that the text quotes. Written by `gillnext`.",
        r"\providecommand{\num}[1]{\ifcsname gillnext@#1\endcsname\csname gillnext@#1\endcsname"
        r"\else\errmessage{missing number: #1}\fi}",
        *(rf"\expandafter\def\csname gillnext@{key}\endcsname{{{escape(value)}}}" for key, value in numbers.items()),
    ]
    return "\n".join(lines) + "\n"


def to_json(table: Table) -> dict[str, Any]:
    """What the paper reads: titles, alignments and formatted texts, with the numbers beside them."""
    return {
        "name": table.name,
        "title": table.title,
        "notes": table.notes,
        "columns": [{"key": c.key, "title": c.title, "align": "left" if c.left else "right"} for c in table.columns],
        "rows": [[cell.text for cell in row] for row in table.rows],
        "values": [[cell.value for cell in row] for row in table.rows],
    }


def write(folder: Path, tables: list[Table]) -> None:
    """`{name}.csv`, `{name}.tex` and `{name}.json` of every table, in `folder`."""
    for table in tables:
        files.write_text(folder / f"{table.name}.csv", to_csv(table))
        files.write_text(folder / f"{table.name}.tex", to_tex(table))
        files.write_json(folder / f"{table.name}.json", to_json(table))
