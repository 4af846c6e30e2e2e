"""A dialogue with GILL as one HTML page: nothing is fetched, pictures are in it, and what people typed is escaped."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment

from gillnext.annotate.thumbnails import thumbnail
from gillnext.layouts import Layout
from gillnext.overlay import COLOURS
from gillnext.runtime import files

PAGE_NAME, ROWS_NAME = "transcript.html", "transcript.json"
SIDE = 512  # pixels of the longer side of a picture on the page, at most

PAGE = """<!DOCTYPE html>
<html lang="zh"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title><style>
:root { --ink: #22252a; --paper: #f5f4f0; --mine: #dceaf7; --its: #fff; --faint: #6b7076; --line: #dcd9d1 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e6e1; --paper: #1b1d20; --mine: #24405a; --its: #2a2d31; --faint: #a3a7ad; --line: #3d4147 } }
* { box-sizing: border-box }
body { font: 16px/1.6 "Noto Sans CJK SC", "Source Han Sans SC", "PingFang SC", "Microsoft YaHei", sans-serif;
  color: var(--ink); background: var(--paper); margin: 0 auto; max-width: 46rem; padding: 1.5rem 1rem 4rem }
h1 { font-size: 1.25rem; margin: 0 }
header p, footer { color: var(--faint); font-size: .8rem; margin: .2rem 0 1.5rem; overflow-wrap: anywhere }
.turn { display: flex; flex-direction: column; gap: .5rem; margin: 0 0 1.4rem }
.says { max-width: 84%; padding: .55rem .9rem; border-radius: 1rem; overflow-wrap: anywhere; white-space: pre-wrap }
.person { align-self: flex-end; background: var(--mine); border-bottom-right-radius: .2rem }
.gill { align-self: flex-start; background: var(--its); border: 1px solid var(--line); border-bottom-left-radius: .2rem }
.who { font-size: .72rem; color: var(--faint); display: block; white-space: normal }
figure { margin: .4rem 0 .2rem; width: 17rem; max-width: 100%; white-space: normal }
.picture { position: relative; line-height: 0 } .picture img { width: 100%; border-radius: .4rem }
svg { position: absolute; inset: 0; width: 100%; height: 100% }
rect { fill: none; stroke-width: 2; vector-effect: non-scaling-stroke }
figcaption { font-size: .78rem; color: var(--faint); line-height: 1.4; margin-top: .35rem }
figcaption b { font-weight: 600 } .name { margin-right: .6rem; white-space: nowrap }
.note { align-self: stretch; font-size: .8rem; color: var(--faint); border-left: 3px solid #c9853a; padding-left: .6rem;
  overflow-wrap: anywhere; white-space: pre-line }
</style></head><body>
<header><h1>{{ title }}</h1><p>{{ about }}</p></header>
<main>{% for e in entries %}
<section class="turn" id="turn-{{ loop.index }}">
{% if e.text or e.shown %}<div class="says person"><span class="who">{{ loop.index }} · 你</span>{{ e.text }}
{%- if e.shown %}<figure><div class="picture"><img alt="" src="{{ e.shown }}"></div></figure>{% endif %}</div>{% endif %}
{% if e.answer or e.picture %}<div class="says gill"><span class="who">GILL</span>{{ e.answer }}
{%- if e.picture %}<figure><div class="picture"><img alt="{{ e.how }}" src="{{ e.picture }}">
<svg viewBox="0 0 1 1" preserveAspectRatio="none">{% for o in e.objects %}
<rect x="{{ o.x }}" y="{{ o.y }}" width="{{ o.w }}" height="{{ o.h }}" stroke="{{ o.colour }}"><title>{{ o.name }}</title></rect>
{%- endfor %}</svg></div>
<figcaption><b>{{ e.how }}</b>{% if e.objects %}<br>{% for o in e.objects %}
<span class="name" style="color:{{ o.colour }}">■ {{ o.name }}</span>{% endfor %}{% endif %}</figcaption></figure>{% endif %}</div>{% endif %}
{% for note in e.notes %}<div class="note" role="note">{{ note }}</div>{% endfor %}
</section>{% endfor %}
</main><footer>gillnext chat</footer></body></html>
"""  # noqa: E501 (markup)


@dataclass
class Entry:
    """One turn: what the person said and showed, what GILL said and showed, and what had to be told beside it.

    Pictures are files. `how`: how GILL came by its picture; `layout`: the boxes that it was drawn in.
    """

    text: str = ""
    shown: Path | None = None
    answer: str = ""
    picture: Path | None = None
    how: str = ""
    layout: Layout | None = None
    notes: list[str] = field(default_factory=list)

    def to_row(self, root: Path) -> dict[str, Any]:
        """The entry as JSON, its pictures' paths relative to `root`."""
        objects = self.layout.to_row()["objects"] if self.layout else []
        row = {
            "text": self.text, "picture": self.shown and str(self.shown.relative_to(root)), "answer": self.answer,
            "answer_picture": self.picture and str(self.picture.relative_to(root)), "how": self.how,
            "boxes": objects, "notes": self.notes,
        }  # fmt: skip
        return {key: value for key, value in row.items() if value}


class Transcript:
    """A dialogue's page and its JSON in a folder, written whole again after every turn."""

    def __init__(self, folder: Path, title: str, about: str) -> None:
        self.folder, self.title, self.about = folder, title, about
        self.entries: list[Entry] = []
        self._pictures: dict[Path, str] = {}
        self._page = Environment(autoescape=True).from_string(PAGE)

    @property
    def page(self) -> Path:
        return self.folder / PAGE_NAME

    def write(self) -> None:
        """Write transcript.html and transcript.json."""
        items = [self._item(entry) for entry in self.entries]
        files.write_text(self.page, self._page.render(title=self.title, about=self.about, entries=items))
        rows = [entry.to_row(self.folder) for entry in self.entries]
        files.write_json(self.folder / ROWS_NAME, {"about": self.about, "turns": rows})

    def _item(self, entry: Entry) -> dict[str, Any]:
        objects = []
        if entry.layout:
            for i, (name, (x1, y1, x2, y2)) in enumerate(zip(entry.layout.names, entry.layout.boxes, strict=True)):
                box = {"x": x1, "y": y1, "w": x2 - x1, "h": y2 - y1}
                objects.append(box | {"name": name, "colour": COLOURS[i % len(COLOURS)]})
        return {
            "text": entry.text, "answer": entry.answer, "how": entry.how, "objects": objects, "notes": entry.notes,
            "shown": self._data(entry.shown), "picture": self._data(entry.picture),
        }  # fmt: skip

    def _data(self, path: Path | None) -> str:
        """A picture as data, read once."""
        if path is None:
            return ""
        if path not in self._pictures:
            self._pictures[path] = thumbnail(path, SIDE)
        return self._pictures[path]
