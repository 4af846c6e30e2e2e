"""The page on which a person corrects boxes: one HTML file with the pictures in it, which works without a network.

`label.html` is the page, `label.js` what it does with the CSV, `label_page.js` one image after the other and what the
browser keeps; the boxes are the `editor`'s. The CSV has the form of `labels`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment
from markupsafe import Markup

from gillnext import editor
from gillnext.annotate import labels
from gillnext.annotate.thumbnails import picture_of, thumbnail
from gillnext.layouts import Layout
from gillnext.overlay import COLOURS
from gillnext.runtime import files

SIDE = 800  # pixels of a picture's longer side


def _text(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def write(rows: Sequence[Layout], images: Path | None, out: Path) -> int:
    """Write the page `out`, and beside it the CSV to fill in; returns how many images they have."""
    once = list({row.image_path: row for row in reversed(rows)}.values())[::-1]  # of two rows of an image the first
    items = [
        {
            "image": row.image_path,
            "caption": row.caption,
            "picture": thumbnail(picture_of(row, images), SIDE),
            "boxes": [{"name": n, "box": list(b)} for n, b in zip(row.names, row.boxes, strict=True)],
        }
        for row in once
    ]
    table = out.with_suffix(".csv")
    data = {
        "key": hashlib.sha256(json.dumps([row.to_row() for row in once]).encode()).hexdigest()[:16],
        "csv": table.name,
        "colours": COLOURS,
        "names": sorted({name for row in once for name in row.names}),
        "items": items,
    }
    parts = {
        "style": editor.text("editor.css"),
        "data": json.dumps(data, ensure_ascii=False).replace("<", "\\u003c"),  # nothing in it ends the element
        "logic": editor.text("boxes.js") + editor.text("editor.js") + _text("label.js"),
        "page": _text("label_page.js"),
    }
    page = Environment(autoescape=True).from_string(_text("label.html"))
    files.write_text(out, page.render(count=len(once), **{key: Markup(text) for key, text in parts.items()}))
    labels.write_blank(table, [row.image_path for row in once])
    return len(once)
