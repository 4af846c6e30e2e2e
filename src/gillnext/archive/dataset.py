"""Mini-Wukong of a run, drawn again from the run's settings, as files that a loader of Croissant reads.

The shards and their truth are those of the stage `world`, byte for byte; beside them the layouts of the test set, their
boxes and their real pictures. Where the run was kept with hashes, what was drawn has to have the same."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from gillnext.config.model import Config
from gillnext.layouts import Layout, write
from gillnext.miniatures.world import heldout, scenes, stage
from gillnext.runtime import files
from gillnext.runtime.errors import UserError
from gillnext.verify.inventory import stages
from gillnext.verify.kept import HASHES
from gillnext.verify.values import of_output

NAME = "mini-wukong"
SPLIT = "test"


JOBS = ("world", f"heldout {SPLIT}")


def kept_hashes(run: Path) -> dict[str, str]:
    """Hash of the values of each of `JOBS` of a kept run, by name; empty where it has none."""
    if not (run / HASHES).exists():
        return {}
    jobs = {name: value for entry in files.read_json(run / HASHES)["stages"] for name, value in entry["jobs"].items()}
    return {name: jobs[name] for name in JOBS}


def check(config: Config, root: Path, hashes: dict[str, str]) -> None:
    """Raise `UserError` where the folder `root` does not hold the values of these hashes."""
    outputs = {name: places for entry in stages(config, [], False) for name, places in entry.jobs.items()}
    for name, wanted in hashes.items():
        if of_output(root, outputs[name]) != wanted:
            remedy = "make the archive with the code of the run, or run the tier again and keep it"
            raise UserError("what is drawn now is not the run's", where=name, remedy=remedy)


def _write_layouts(config: Config, layouts: list[Layout], out: Path) -> None:
    """Layouts and boxes as tables, and each layout's picture, drawn."""
    (out / "pictures").mkdir()
    rows, boxes = [], []
    for layout in layouts:
        name = f"{layout.id}.png"
        scene = scenes.sample(config.run.seed, str(layout.extra["stream"]), int(layout.extra["scene"]))
        Image.fromarray(scenes.render(scene)).save(out / "pictures" / name)
        rows.append({"layout": layout.id, "caption": layout.caption, "picture": name})
        boxes += [
            {"layout": layout.id, "phrase": thing["name"], "box": thing["bbox"]} for thing in layout.to_row()["objects"]
        ]
    files.write_jsonl(out / "layouts.jsonl", rows)
    files.write_jsonl(out / "boxes.jsonl", boxes)


def make(config: Config, run: Path, out: Path) -> dict[str, str]:
    """Draw the world of the kept run `run` into the folder `out`; returns the hashes that it was held to.

    Writes shards/, truth/, world.json, pictures/ and, as JSON lines, layouts (layout, caption, picture) and boxes
    (layout, phrase, box: left, top, right, bottom as fractions of the image).
    """
    root = out.parent / f"{out.name}.root"
    hashes = kept_hashes(run)
    stage.make(config, root / "world")
    layouts = heldout.make(config.run.seed, SPLIT, config.sample.test)
    write(root / "world/heldout" / f"{SPLIT}.jsonl", layouts)
    check(config, root, hashes)
    (root / "world/heldout" / f"{SPLIT}.jsonl").unlink()
    (root / "world/heldout").rmdir()
    (root / "world").rename(out)
    root.rmdir()
    _write_layouts(config, layouts, out)
    return hashes
