"""Draw one picture from a caption, or from a caption and boxes, with the models that the workflow has trained.

    gillnext draw "左边是一棵树，右边是一座房子" --out picture.png
    gillnext draw "一只猫和一棵树" --boxes boxes.json --show-boxes --out picture.png

boxes.json: {"猫": [0.1, 0.3, 0.5, 0.8], "树": [0.6, 0.1, 0.95, 0.6]} or [{"name": "猫", "bbox": [x1, y1, x2, y2]}, …],
xyxy in fractions of the image; other conventions are named with --convention.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gillnext import layouts
from gillnext.adapter.pipeline import GroundedKolorsPipeline
from gillnext.config.arguments import add_config, config
from gillnext.config.model import Config
from gillnext.overlay import draw_boxes
from gillnext.planner.model import Planner
from gillnext.runtime import files, training
from gillnext.runtime.errors import UserError

STEPS = 25  # one picture has time for more of them than a study's thousands (`sample.steps`)


def read_boxes(path: Path, caption: str, convention: str) -> layouts.Layout:
    """A layout from a boxes file; errors name the file and the object."""
    if not path.exists():
        raise UserError("no such file", where=str(path), remedy="give --boxes a JSON file of names and boxes")
    data: Any = files.read_json(path)
    if isinstance(data, dict) and "objects" not in data:
        data = [{"name": name, "bbox": box} for name, box in data.items()]
    objects = data["objects"] if isinstance(data, dict) else data
    return layouts.from_row({"caption": caption, "objects": objects}, str(path), convention)


def models(cfg: Config, args: argparse.Namespace) -> dict[str, Path]:
    """The folders of base, adapter and planner: named, or those of a run's results."""
    results, study = args.results or Path("results") / cfg.run.tier, cfg.study
    found = {
        "base": args.base or results / "models/base",
        "adapter": args.adapter or results / "adapters" / study.reference / str(study.seeds_of(study.reference)[0]),
        "planner": args.planner or results / "models/planner",
    }
    for name, folder in found.items():
        if not folder.exists() and not (name == "planner" and args.boxes):
            raise UserError(
                f"the {name} is not there",
                where=str(folder),
                remedy=f"run `make paper` first, or name it with --{name}",
            )
    return found


def draw(
    cfg: Config, folders: dict[str, Path], caption: str, layout: layouts.Layout | None, seed: int, steps: int = STEPS
) -> tuple[np.ndarray, layouts.Layout]:
    """The picture (H, W, 3) uint8 and the layout that it follows."""
    training.setup(cfg.run.threads, cfg.run.device)
    pipeline = GroundedKolorsPipeline.from_folders(folders["base"], folders["adapter"], cfg.run.device)
    if layout is None:
        pipeline.planner = Planner.from_pretrained(folders["planner"])
    images, used = pipeline.draw(
        [caption], [layout] if layout else None, keys=[("draw", seed)], steps=steps, guidance=cfg.sample.guidance
    )
    return (images[0] * 255).round().astype(np.uint8), used[0]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("caption", help="what to draw, in Chinese")
    parser.add_argument("--out", type=Path, default=Path("picture.png"), help="the picture (default: picture.png)")
    parser.add_argument("--boxes", type=Path, help="JSON of names and boxes; without it the planner places the objects")
    parser.add_argument(
        "--convention", choices=("unit", "thousandths", "auto"), default="unit", help="how the boxes are written"
    )
    parser.add_argument("--show-boxes", action="store_true", help="draw the boxes and names over the picture")
    parser.add_argument("--scale", type=int, default=8, help="enlargement of the saved picture (default: 8)")
    parser.add_argument("--seed", type=int, default=0, help="of the noise")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"of the sampler (default: {STEPS})")
    parser.add_argument("--results", type=Path, help="results of the run whose models draw (default: results/TIER)")
    for name in ("base", "adapter", "planner"):
        parser.add_argument(f"--{name}", type=Path, help=f"folder of the {name} (default: that of the results)")
    add_config(parser)


def main(args: argparse.Namespace) -> None:
    cfg = config(args)
    layout = read_boxes(args.boxes, args.caption, args.convention) if args.boxes else None
    picture, used = draw(cfg, models(cfg, args), args.caption, layout, args.seed, args.steps)
    if args.show_boxes:
        image = draw_boxes(picture, used, args.scale)
    else:
        size = (picture.shape[1] * args.scale, picture.shape[0] * args.scale)
        image = Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC)
    with files.atomic(args.out) as temporary:
        image.save(temporary, "PNG")
    for name, box in zip(used.names, used.boxes, strict=True):
        print(f"{name} [{', '.join(f'{v:.2f}' for v in box)}]")
    print(f"wrote {args.out}")
