"""Names of objects and what a detector is asked for: a table of name, tab, phrase, in UTF-8, without a header.

    猫	cat
    红绿灯	traffic light
    盆栽

A name whose phrase is left blank is unknown to the detector. A file without any tab is a list of names, for detectors
that read them as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gillnext.runtime import files
from gillnext.runtime.errors import UserError

REMEDY = "write a name, one tab and the phrase that the detector is asked for, or the name alone where there is none"
ENDS = ".?。？"  # what ends a phrase for Grounding DINO, and the same in Chinese


def problem(phrase: str) -> str:
    """Why a phrase cannot be asked for; empty where it can."""
    if phrase != " ".join(phrase.split()):
        return "has spaces at an end or in a row"
    if found := [sign for sign in ENDS if sign in phrase]:
        return f"holds {found[0]!r}, which ends a phrase"
    return ""


def read(path: Path | str) -> dict[str, str]:
    """Phrases by name in the file's order, "" where a name has none; of a list, each name is its own phrase.

    Raises `UserError` with file, line and remedy for a line of another form, and where no name is in it.
    """
    rows: dict[str, str] = {}
    tabs = False
    for number, line in files.numbered_lines(path, "save it as UTF-8"):
        name, tab, phrase = line.rstrip("\r\n").partition("\t")
        if not name.strip() and not phrase.strip():
            continue
        what, tabs = "", tabs or bool(tab)
        if name != name.strip() or not name:
            what = "needs a name without spaces around it"
        elif "\t" in phrase:
            what = "has more than one tab"
        elif name in rows:
            what = f"{name!r} comes twice"
        elif reason := problem(phrase.strip()):
            what = f"the phrase {phrase!r} {reason}"
        if what:
            raise UserError(what, where=f"{path}, line {number}", remedy=REMEDY)
        rows[name] = phrase.strip()
    if not rows:
        raise UserError("no names in it", where=str(path), remedy=REMEDY)
    return rows if tabs else {name: name for name in rows}


def write(path: Path, rows: Mapping[str, str]) -> None:
    """The table, in the order of `rows`."""
    files.write_text(path, "".join(f"{name}\t{phrase}\n" for name, phrase in rows.items()))
