"""The box editor of two pages, `gillnext review --label` and `gillnext studio`: scripts and a style, without a network.

`boxes.js` is what it does with boxes, `editor.js` mouse, touch and keyboard, `editor.css` how boxes look. A page may
hold them or fetch them; `boxes.js` comes before `editor.js`.
"""

from __future__ import annotations

from pathlib import Path

FILES = ("boxes.js", "editor.js", "editor.css")


def text(name: str) -> str:
    """The text of one of `FILES`."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
