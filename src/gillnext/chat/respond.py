"""Draw the last picture of every test conversation, in several ways: by the text encoder or by GILL, with boxes or not.

    gillnext respond --config config.yaml --conversations S/conversations/test.jsonl --gill S/gill \\
        --language S/language --eyes E --base B --adapter A --planner S/planner --out S/pictures

| way | what is drawn | boxes |
|---|---|---|
| `caption` | the text encoder's states of the true caption: the ceiling | none |
| `last`, `dialogue` | the same of the last turn's text, and of all texts, as far as the encoder reads | none |
| `gill-1` … `gill-5` | the mapper's states of the last n turns, text alone | none |
| `gill-pictures` | the same of all turns with their pictures: of a story five sentences and four pictures | none |
| `gill-shuffled` | those of another conversation of the same kind | none |
| `next`, `next-true` | as `gill-pictures` | the planner's of all texts, the true ones |
| `caption-planned`, `caption-true` | as `caption` | the same planned ones, the true ones: the ceiling |

Those with boxes are drawn by the spatial adapter, where `--adapter` names one (and `--planner` the planner); the others
by the base alone. Picture i has the same noise in all ways. Writes OUT/WAY/NNNNN.png with layouts.jsonl, as
`gillnext sample` does: a row's boxes are those that were given, or the true ones where none were. OUT/truth.jsonl has
the true captions, boxes and told relations, OUT/respond.json what was counted. A killed run keeps what it has drawn.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from gillnext import conversations, layouts
from gillnext.chat.artist import Artist
from gillnext.chat.parts import add_talker, open_talker
from gillnext.chat.ways import TRUTH, WAYS, Way, context, others, true_layout
from gillnext.config.arguments import add_config, add_out, config
from gillnext.config.model import Config
from gillnext.conversations import Conversation, text_of
from gillnext.gill.talker import Talker
from gillnext.layouts import Layout
from gillnext.runtime import contents, files, provenance
from gillnext.runtime.errors import UserError
from gillnext.runtime.progress import Progress
from gillnext.sample.pictures_folder import Keys, name_of, open_work, save_png

ABOUT = "respond.json"


class Responder:
    """The conversations of one file, drawn in one way after the other. `counts`: what is told of each way."""

    def __init__(self, cfg: Config, talker: Talker, rows: Sequence[Conversation], root: Path, where: str) -> None:
        self.cfg, self.talker, self.rows, self.root = cfg, talker, rows, root
        self.truth = [true_layout(row, where) for row in rows]
        self.counts: dict[str, Counter[str]] = {}
        self.planned: list[Layout] = []

    def plan(self, artist: Artist) -> None:
        """Plan the layouts of all conversations."""
        counts = self.counts["planner"] = Counter()
        self.planned = artist.plan([row.turns for row in self.rows], counts)

    def given(self, way: Way) -> list[Layout]:
        """What each picture's row in layouts.jsonl tells: the boxes that it was given, else the true ones."""
        if way.boxes != "planned":
            return [dataclasses.replace(row, extra={"kind": row.extra["kind"]}) for row in self.truth]
        return [
            dataclasses.replace(plan, caption=row.caption, id=row.id, extra={"kind": row.extra["kind"]})
            for plan, row in zip(self.planned, self.truth, strict=True)
        ]

    def texts(self, by: str) -> list[str]:
        """What the text encoder reads of each conversation; the true caption for the mapper, which does not read it."""
        if by == "last":
            return [row.turns[-1].text for row in self.rows]
        if by == "dialogue":
            return [text_of(row.turns) for row in self.rows]
        return [row.caption for row in self.truth]

    def draw(self, name: str, artist: Artist, work: Path) -> None:
        """All pictures of a way, into the folder `work`; those that are there are not drawn again."""
        way, counts = WAYS[name], self.counts.setdefault(name, Counter())
        given, texts = self.given(way), self.texts(way.by)
        if way.by != "mapper":
            counts["longer than the text encoder reads"] = artist.too_long(texts)
        own = others(self.rows) if way.shuffled else list(range(len(self.rows)))
        size = self.cfg.sample.batch
        with Progress(f"respond, {name}", len(texts), "images") as progress:
            for start in range(0, len(texts), size):
                batch = range(start, min(start + size, len(texts)))
                if not all((work / name_of(i)).exists() for i in batch):
                    keys: Keys = [(self.cfg.run.seed, 0, i) for i in batch]
                    embeds = None
                    if way.by == "mapper":
                        turns = [context(self.rows[own[i]].turns, way.turns) for i in batch]
                        read = self.talker.read(turns, self.root, pictures=way.pictures)
                        embeds = read.states, read.pooled
                    boxes = None if way.boxes == "none" else [given[i] for i in batch]
                    images = artist.draw([texts[i] for i in batch], keys, boxes, embeds)
                    for i, image in zip(batch, images, strict=True):
                        save_png(work / name_of(i), image)
                progress.step(len(batch))
        placed = [dataclasses.replace(row, image_path=name_of(i)) for i, row in enumerate(given)]
        layouts.write(work / "layouts.jsonl", placed)


def respond(
    cfg: Config, talker: Talker, path: Path, base: Path, adapter: Path | None, planner: Path | None,
    ways: Sequence[str], out: Path,
) -> None:  # fmt: skip
    """Draw the conversations of a file in the named ways into the folder `out`."""
    with_boxes = [name for name in ways if WAYS[name].boxes != "none"]
    planned = any(WAYS[name].boxes == "planned" for name in ways)
    if (with_boxes and not adapter) or (planned and not planner):
        lacking = "--adapter" if not adapter else "--planner"
        raise UserError(f"the ways {', '.join(with_boxes)} need {lacking}", remedy="name it, or other --ways")
    rows = conversations.read(path)
    responder = Responder(cfg, talker, rows, path.parent, str(path))
    work, weights = out.with_name(out.name + ".work"), [contents.sha256(p) for p in (base, adapter, planner) if p]
    made_from = [
        dataclasses.asdict(cfg.run), cfg.sample.steps, cfg.sample.guidance, cfg.sample.batch, talker.hash, weights,
        files.sha256(path),
    ]  # fmt: skip
    for name in ways:
        identity = provenance.fingerprint(*made_from, dataclasses.asdict(WAYS[name]), code=["gillnext.chat.respond"])
        open_work(work / name, identity)
    for boxes in (False, True):
        names = [name for name in ways if (name in with_boxes) == boxes]
        if not names:
            continue
        artist = Artist.load(cfg, base, adapter if boxes else None, planner if boxes and planned else None)
        if boxes and planned:
            responder.plan(artist)
        for name in names:
            responder.draw(name, artist, work / name)
    with files.atomic(out) as temporary:
        for name in ways:
            shutil.copytree(work / name, temporary / name, ignore=shutil.ignore_patterns("identity.json", ".*"))
        layouts.write(temporary / TRUTH, responder.truth)
        files.write_json(temporary / ABOUT, {
            "n": len(rows), "ways": list(ways), "kinds": Counter(row.kind for row in rows), "counts": responder.counts,
            "hashes": {"gill": talker.hash, "conversations": files.sha256(path)}, "provenance": provenance.stamp(),
        })  # fmt: skip
    shutil.rmtree(work, ignore_errors=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    add_talker(parser)
    parser.add_argument("--conversations", type=Path, required=True, metavar="JSONL", help="conversations to draw")
    add_artist(parser)
    what = f"ways to draw them (default: all that the models allow); {', '.join(WAYS)}"
    parser.add_argument("--ways", nargs="+", choices=WAYS, metavar="WAY", help=what)
    add_out(parser, "folder of the pictures, a folder a way")


def add_artist(parser: argparse.ArgumentParser) -> None:
    """The options that name what draws."""
    parser.add_argument("--base", type=Path, required=True, metavar="FOLDER", help="a Kolors or SDXL pipeline")
    parser.add_argument("--adapter", type=Path, metavar="FOLDER", help="the spatial adapter, for boxes")
    parser.add_argument("--planner", type=Path, metavar="FOLDER", help="a planner of conversations")


def main(args: argparse.Namespace) -> None:
    allowed = (
        {"none"} | ({"true"} if args.adapter else set()) | ({"planned"} if args.adapter and args.planner else set())
    )
    ways = args.ways or [name for name, way in WAYS.items() if way.boxes in allowed]
    cfg = config(args)
    respond(cfg, open_talker(cfg, args), args.conversations, args.base, args.adapter, args.planner, ways, args.out)
