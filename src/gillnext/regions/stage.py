"""Edit pictures by texts alone: where an edit is made is learned, picture by picture.

    gillnext regions --images photos --json images.json --base BASE --eyes DINO --clip CHINESE_CLIP --out edited
    accelerate launch --num_processes 4 -m gillnext.cli regions …          # pictures shared between devices

images.json is {file: [source prompt, editing prompt, …]}: what is there, and what shall be there. BASE is a Kolors or
SDXL pipeline, or an inpainting pipeline of Stable Diffusion or SDXL; --inpainting names a UNet of 9 channels
that a base fills boxes with. Each edit is written as OUT/FILE.png (its further prompts as FILE-1.png, …), and
OUT/regions.jsonl tells boxes, anchors and losses. --draw-box adds FILE-box.png: source and edit with box and anchors.

With --ways and --seeds an edit is made in several ways, each in OUT/WAY/SEED: `true` needs --truth, the true boxes.
A killed run keeps the edits that are done. Options override the settings `regions`.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gillnext.config.arguments import add_config, add_out, config
from gillnext.config.model import Config
from gillnext.config.regions import Regions
from gillnext.layouts import Box
from gillnext.regions import asks as asks_
from gillnext.regions import editor as editor_
from gillnext.regions.asks import Ask
from gillnext.regions.editor import CENTRE, SEEDED, WAYS, WHOLE, Editor
from gillnext.regions.shown import REGIONS, save_png, with_boxes
from gillnext.runtime import contents, files, provenance, training
from gillnext.runtime.errors import UserError
from gillnext.runtime.progress import Progress

OPTIONS = {
    "point_number": int, "max_window_size": int, "per_image_iteration": int, "lr": float, "batch_size": int,
}  # fmt: skip


@dataclass(frozen=True)
class Task:
    """What one run edits: the asks, the ways and seeds, and the true boxes by file."""

    asks: list[Ask]
    ways: tuple[str, ...]
    seeds: tuple[int, ...]
    truth: dict[str, Box]
    draw_box: bool = False

    def seeds_of(self, way: str) -> tuple[int, ...]:
        """Those of a way; of one that no seed decides on, the first."""
        return self.seeds if way in SEEDED else self.seeds[:1]

    def folder(self, way: str, seed: int) -> str:
        """Where a way's pictures lie, below the output folder."""
        return f"{way}/{seed}" if len(self.ways) > 1 or len(self.seeds) > 1 else ""


def read_truth(path: Path | None) -> dict[str, Box]:
    """file -> the box that an edit is about, of truth.jsonl."""
    return {row["file"]: tuple(row["box"]) for row in files.read_jsonl(path)} if path else {}


def one(editor: Editor, task: Task, ask: Ask, source: np.ndarray, noise: int, work: Path) -> dict[str, Any]:
    """Make an edit in all ways, write its pictures into `work`, and tell of it."""
    chosen = [way for way in task.ways if way not in ("centre", "whole", "true")]
    found = editor.candidates(ask, source, noise) if chosen else None
    told: dict[str, Any] = {}
    for way in task.ways:
        for seed in task.seeds_of(way):
            if found is not None and way in chosen:
                result = editor.edit(way, ask, found, seed)
            else:
                box = {"centre": CENTRE, "whole": WHOLE}.get(way) or task.truth[ask.file]
                result = editor.in_box(ask, source, box, noise)
            place = work / task.folder(way, seed)
            save_png(place / f"{ask.name}.png", result.picture)
            if task.draw_box:
                anchors = [
                    ((c + 0.5) / editor.eyes.grid, (r + 0.5) / editor.eyes.grid)
                    for r, c in result.about.get("anchors", [])
                ]
                save_png(place / f"{ask.name}-box.png", with_boxes(source, result.picture, result.box, anchors))
            told.setdefault(way, {})[str(seed)] = {"box": list(result.box), **result.about}
    return {
        "file": ask.file, "number": ask.number, "name": ask.name, "source": ask.source, "prompt": ask.prompt,
        "ways": told,
    }  # fmt: skip


def size_of(editor: Editor, asks: Sequence[Ask]) -> int | None:
    """Pixels a side that all pictures are brought to: the base's own, unless squares of them are filled alone."""
    return None if editor.settings.crop and editor.settings.side is None else editor.inpainter.own_side


def edit_all(editor: Editor, task: Task, noise: int, work: Path, state: Any) -> None:
    """This process's share of the asks; an ask whose row is there is done."""
    mine = task.asks[state.process_index :: state.num_processes]
    with Progress("regions", len(mine), "edits") as progress:
        for ask in mine:
            row = work / "rows" / f"{ask.name}.json"
            if not row.exists():
                source = asks_.picture(ask, size_of(editor, task.asks))
                files.write_json(row, one(editor, task, ask, source, noise, work))
            progress.step()


def run(cfg: Config, editor: Editor, task: Task, noise: int, out: Path, made_from: Sequence[Any]) -> None:
    """Edit all pictures into the folder `out`, on as many processes as accelerate has started."""
    from accelerate import PartialState

    state = PartialState(cpu=cfg.run.device == "cpu")
    work = out.with_name(out.name + ".work")
    identity = provenance.fingerprint(
        *made_from, editor_.settings_of(editor.settings), noise, task.ways, task.seeds,
        [dataclasses.astuple(ask) for ask in task.asks], code=["gillnext.regions.stage"],
    )  # fmt: skip
    marker = work / "identity.json"
    if state.is_main_process:
        if work.exists() and (not marker.exists() or files.read_json(marker) != identity):
            shutil.rmtree(work)
        files.write_json(marker, identity)
    state.wait_for_everyone()
    edit_all(editor, task, noise, work, state)
    state.wait_for_everyone()
    if state.is_main_process:
        with files.atomic(out) as folder:
            left_out = shutil.ignore_patterns("identity.json", "rows", ".*")
            shutil.copytree(work, folder, ignore=left_out)
            rows = [files.read_json(work / "rows" / f"{ask.name}.json") for ask in task.asks]
            files.write_jsonl(folder / REGIONS, rows)
        shutil.rmtree(work, ignore_errors=True)
    state.wait_for_everyone()


def settings_of(cfg: Config, args: argparse.Namespace) -> Regions:
    """The settings `regions`, with what the options say on top."""
    given = {name: getattr(args, name) for name in OPTIONS if getattr(args, name) is not None}
    for name, value in given.items():
        if value <= 0 and name != "per_image_iteration":
            raise UserError(f"--{name.replace('_', '-')} {value}", remedy="a number above 0")
    return dataclasses.replace(cfg.regions, **given)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("--images", type=Path, required=True, metavar="FOLDER", help="the pictures")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="{file: [source prompt, prompt, …]}")
    parser.add_argument("--base", type=Path, required=True, metavar="FOLDER", help="what fills boxes")
    parser.add_argument("--inpainting", type=Path, metavar="FOLDER", help="a UNet of 9 channels in the base's place")
    parser.add_argument("--eyes", type=Path, required=True, metavar="FOLDER", help="a self-supervised ViT")
    parser.add_argument("--clip", type=Path, required=True, metavar="FOLDER", help="Chinese-CLIP")
    for name, kind in OPTIONS.items():
        dashed = f"--{name.replace('_', '-')}"
        names = dict.fromkeys((dashed, f"--{name}"))
        parser.add_argument(*names, dest=name, type=kind, help=f"in place of the setting regions.{name}")
    what = "write FILE-box.png too: source and edit with box and anchors"
    parser.add_argument("--draw-box", "--draw_box", action="store_true", help=what)
    parser.add_argument("--seed", type=int, help="of the network, its choices and the noise (default: run.seed)")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=["learned"], help="default: learned")
    parser.add_argument("--seeds", type=int, nargs="+", metavar="SEED", help="several of the network and its choices")
    parser.add_argument("--truth", type=Path, metavar="JSONL", help="the true boxes, for the way `true`")
    add_out(parser, "folder of the edited pictures")


def main(args: argparse.Namespace) -> None:
    cfg = config(args)
    settings = settings_of(cfg, args)
    training.setup(cfg.run.threads, cfg.run.device)
    asks, truth = asks_.read(args.json, args.images), read_truth(args.truth)
    if "true" in args.ways and (lacking := [ask.file for ask in asks if ask.file not in truth]):
        where = f"{args.truth}" if args.truth else "--ways true"
        raise UserError(f"no true box of {lacking[0]}", where=where, remedy="name truth.jsonl with --truth")
    noise = cfg.run.seed if args.seed is None else args.seed
    seeds = tuple(args.seeds or [noise])
    editor = Editor.open(settings, args.base, args.inpainting, args.eyes, args.clip, cfg.run.device)
    for note in asks_.check_known(asks, editor.clip.unknown, str(args.json)):
        print(f"gillnext regions: warning: {note}", file=sys.stderr)
    task = Task(asks, tuple(args.ways), seeds, truth, args.draw_box)
    weights = [contents.sha256(one) for one in (args.base, args.inpainting, args.eyes, args.clip) if one]
    run(cfg, editor, task, noise, args.out, [weights, files.sha256(args.images), [*truth.items()]])
    print(f"{args.out}: {len(asks)} edits")
