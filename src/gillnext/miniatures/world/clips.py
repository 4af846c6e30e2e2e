"""Write clips of the drawn world, with what is to be done in each: for InstructPix2Pix over frames.

    gillnext clips --config config.yaml --out results/demo/supplement/clips

Writes of each split OUT/{train,val,test}/: TASK/NUMBER/00.jpg … 20.jpg, the last being the target; `metadata.json`, a
list of `{"video_path", "instruction"}`; `metadata.jsonl`, the same with the last frame alone (`file_name, input_image,
edit_prompt, edited_image`); and `truth.jsonl`, layouts of the targets with what scoring needs. Beside a clip's frames
lies `changed.png`, white where the target differs from the last frame by what was done, and not by the camera.

Clip `row` of a split is a function of its names alone; each split's scenes are of a stream of their own.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from gillnext.config.arguments import add_config, add_out
from gillnext.config.arguments import config as read_config
from gillnext.config.data import DRAWN_OBJECTS
from gillnext.config.model import Config
from gillnext.layouts import Layout
from gillnext.miniatures.world.motions import LAST, TASKS, Motion, camera, motion, staged
from gillnext.miniatures.world.objects import Objects, of
from gillnext.miniatures.world.scenes import Scene, jpeg
from gillnext.runtime import files, provenance, seeds
from gillnext.runtime.errors import UserError
from gillnext.runtime.progress import Progress

SCENES = 1_000  # that are looked at for one clip
CHANGED = 8  # of 255: difference of a channel from which a pixel has changed


@dataclass(frozen=True)
class Clip:
    """A clip before it is drawn: its path in the split, instruction, motion, scenes by frame, and the scene of the last
    frame as the target's camera would see it.
    """

    path: str
    instruction: str
    motion: Motion
    scenes: tuple[Scene, ...]
    before: Scene


def make(seed: int, split: str, row: int, objects: Objects, jitter: float) -> Clip:
    """Clip `row` of a split; tasks take turns."""
    task, rng = TASKS[row % len(TASKS)], seeds.rng("clip", seed, split, row)
    found = motion(task, rng)
    count = found.boxes_FK4.shape[1]
    candidates = (objects.sample(seed, f"clips-{split}", row * SCENES + k) for k in range(SCENES))
    scene = next(one for one in candidates if len(one.objects) >= count)
    shifts = camera(jitter, rng)
    scenes = tuple(staged(scene, boxes, shift) for boxes, shift in zip(found.boxes_FK4, shifts, strict=True))
    before = staged(scene, found.boxes_FK4[LAST], shifts[-1])
    instruction = found.instruction(scene.names, rng)
    return Clip(f"{task}/{row // len(TASKS):05d}", instruction, found, scenes, before)


def truth(clip: Clip) -> Layout:
    """What the target shows: its visible objects and their boxes, with the task, the object whose place was changed,
    and
    the one that is hidden.
    """
    scene, last, act = clip.scenes[-1], clip.scenes[LAST], clip.motion
    shown = [i for i in range(len(scene.objects)) if act.hiding < 0 or i != act.acted]
    extra: dict[str, Any] = {"task": act.task, "object": scene.names[act.moved]}
    extra["before"] = [round(v, 6) for v in last.objects[act.moved].box]
    if act.hiding >= 0:
        hidden = last.objects[act.acted]
        extra["hidden"] = {"name": hidden.kind.name, "bbox": [round(v, 6) for v in hidden.box]}
    names, boxes = tuple(scene.names[i] for i in shown), tuple(scene.objects[i].box for i in shown)
    return Layout(clip.instruction, names, boxes, clip.path, f"{clip.path}/{LAST + 1:02d}.jpg", extra)


def changed(target: np.ndarray, before: np.ndarray) -> Image.Image:
    """White where two pictures (H, W, 3) of one camera differ, and a pixel around."""
    apart = np.abs(target.astype(int) - before.astype(int)).max(-1) > CHANGED
    return Image.fromarray(apart.astype(np.uint8) * 255).filter(ImageFilter.MaxFilter(3))


def write(clip: Clip, objects: Objects, folder: Path) -> None:
    """Write the clip's pictures into the split's `folder`."""
    place = folder / clip.path
    place.mkdir(parents=True)
    drawn = [objects.render(scene) for scene in clip.scenes]
    for k, picture in enumerate(drawn):
        (place / f"{k:02d}.jpg").write_bytes(jpeg(picture))
    changed(drawn[-1], objects.render(clip.before)).save(place / "changed.png")


def single(clip: Clip) -> dict[str, str]:
    """The clip's row in the form of one frame."""
    last, target = f"{clip.path}/{LAST:02d}.jpg", f"{clip.path}/{LAST + 1:02d}.jpg"
    return {"file_name": last, "input_image": last, "edit_prompt": clip.instruction, "edited_image": target}


def run(config: Config, out: Path) -> None:
    """Write all splits, whole or not at all; `UserError` for a world of cut-outs."""
    if config.world.objects != DRAWN_OBJECTS:
        remedy = "the drawn world, or clips of your own (docs/frames.md)"
        raise UserError("clips are made of drawn objects alone", where="world.objects", remedy=remedy)
    objects, asked = of(config), config.frames.clips
    counts = {"train": asked.train, "val": asked.val, "test": asked.test}
    with files.atomic(out) as folder:
        for split, count in counts.items():
            made = []
            with Progress(f"clips, {split}", count, "clips") as progress:
                for row in range(count):
                    made.append(make(config.run.seed, split, row, objects, asked.jitter))
                    write(made[-1], objects, folder / split)
                    progress.step()
            rows = [{"video_path": clip.path, "instruction": clip.instruction} for clip in made]
            files.write_json(folder / split / "metadata.json", rows)
            files.write_jsonl(folder / split / "metadata.jsonl", map(single, made))
            files.write_jsonl(folder / split / "truth.jsonl", (truth(clip).to_row() for clip in made))
        tasks = dict(Counter(TASKS[row % len(TASKS)] for row in range(asked.test)))
        about = {"seed": config.run.seed, "counts": counts, "test_tasks": tasks, "jitter": asked.jitter}
        files.write_json(folder / "clips.json", about | {"provenance": provenance.stamp()})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    add_out(parser, "folder of the clips")


def main(args: argparse.Namespace) -> None:
    run(read_config(args), args.out)
