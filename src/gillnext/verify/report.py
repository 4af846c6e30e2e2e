"""The verification as tables, and on the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from gillnext.tables.table import NOTHING, Cell, Column, Table, text
from gillnext.verify.tolerance import Comparison, Judged

PASS, FAIL, UNDECIDED, NEITHER, REPORTED = "pass", "FAIL", "undecided", "not compared", "reported"
NAMED = 3  # differences of a row that are put into words; the table of numbers has all


@dataclass(frozen=True)
class Row:
    """A claim, the values by hash, or a part of the main tables: the result, the verdicts of this run and the kept one,
    the numbers, the reason.
    """

    id: str
    what: str
    result: str
    verdicts: tuple[str, str] = ("", "")
    numbers: tuple[Comparison, ...] = ()
    why: str = ""


def digits(value: float) -> str:
    """Four significant figures, whole numbers in full, with a true minus sign."""
    shown = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return shown.replace("-", "−")


def figure(value: float) -> Cell:
    return Cell(digits(value), value=float(f"{value:.9g}"))


def interval(number: Comparison) -> str:
    """Where a number should lie, and how many whole runs say so."""
    if number.ends is None:
        return NOTHING
    runs = f" ({number.runs} runs)" if number.runs else ""
    return f"{' to '.join(map(digits, number.ends))}{runs}"


def difference(number: Comparison) -> str:
    """A number that is not the kept one."""
    wanted = f", wanted {interval(number)}" if number.ends else ""
    return f"{number.name}: {digits(number.value)}, kept {digits(number.kept)}{wanted}"


def reported(numbers: Sequence[Comparison]) -> str:
    """The first differences that nothing at hand can judge, and how many there are; "" where there are none."""
    found = [number for number in numbers if number.judged == Judged.REPORTED]
    more = f"; and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return "; ".join(map(difference, found[:NAMED])) + more


def counted(row: Row) -> str:
    """How many of a row's numbers are the same, or lie where whole runs do."""
    within = sum(number.judged in (Judged.SAME, Judged.WITHIN) for number in row.numbers)
    return f"{within} of {len(row.numbers)}" if row.numbers else NOTHING


def rows_table(rows: Sequence[Row], notes: list[str]) -> Table:
    columns = {
        Column("id", "id", left=True): lambda row: text(row.id or NOTHING),
        Column("what", "claim", left=True): lambda row: text(row.what),
        Column("result", "result", left=True): lambda row: text(row.result),
        Column("here", "verdict here", left=True): lambda row: text(row.verdicts[0] or NOTHING),
        Column("kept", "verdict kept", left=True): lambda row: text(row.verdicts[1] or NOTHING),
        Column("within", "numbers within"): lambda row: text(counted(row)),
        Column("why", "why", left=True): lambda row: text(row.why or NOTHING),
    }
    return Table.of("verify", "This run against the kept one, claim by claim", rows, columns, *notes)


def numbers_table(rows: Sequence[Row], notes: list[str]) -> Table:
    """Every number that was compared, with where it should lie and how many whole runs say so."""
    columns = {
        Column("id", "id", left=True): lambda pair: text(pair[0].id or NOTHING),
        Column("number", "number", left=True): lambda pair: text(pair[1].name),
        Column("seeds", "seeds here"): lambda pair: figure(pair[1].seeds[0]),
        Column("kept_seeds", "seeds kept"): lambda pair: figure(pair[1].seeds[1]),
        Column("value", "here"): lambda pair: figure(pair[1].value),
        Column("kept", "kept"): lambda pair: figure(pair[1].kept),
        Column("low", "from"): lambda pair: figure(pair[1].ends[0]) if pair[1].ends else text(NOTHING),
        Column("high", "to"): lambda pair: figure(pair[1].ends[1]) if pair[1].ends else text(NOTHING),
        Column("runs", "runs"): lambda pair: figure(pair[1].runs),
        Column("judged", "judged", left=True): lambda pair: text(pair[1].judged),
    }
    pairs = [(row, number) for row in rows for number in row.numbers]
    return Table.of("numbers", "Every number of this run beside the kept one's", pairs, columns, *notes)


def terminal(rows: Sequence[Row], notes: list[str]) -> str:
    """The table of rows as aligned lines, a count, and the notes."""
    lines = []
    for row in rows:
        lines.append(f"{row.id:>4}  {row.result:<12}  {counted(row):>9}  {row.what}")
        if row.why:
            lines.append(f"{'':>31}{row.why}")
    totals = Counter(row.result for row in rows)
    lines.append(", ".join(f"{n} {result}" for result, n in totals.items()))
    return "\n".join([*lines, *(f"  {note}" for note in notes)])
