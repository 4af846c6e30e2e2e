"""Draw one picture from a caption, or from a caption and boxes, with the models of a run or given ones.

    gillnext draw "左边是一棵树，右边是一座房子" --out picture.png
    gillnext draw "一只猫和一棵树" --boxes boxes.json --show-boxes --out picture.png
    gillnext draw "一只猫和一棵树" --boxes boxes.json --base Kolors-diffusers --adapter results/wukong/adapters/attn2/0

boxes.json: {"猫": [0.1, 0.3, 0.5, 0.8], "树": [0.6, 0.1, 0.95, 0.6]} or [{"name": "猫", "bbox": [x1, y1, x2, y2]}, …],
xyxy in fractions of the image; other conventions are named with --convention. Pictures have the base's own size; a file
with "width" and "height" beside "objects" has them drawn in the nearest shape of that area (sample.size: layout).

Until a run has trained an adapter, the kept models of reference/models draw.

What the models do not know of a caption, and what of it the picture lacks, is said on stderr. For scripts, --json
prints one JSON object on stdout: caption, objects (name and bbox; --boxes reads such a file), picture, warnings, seed,
arm (null with --adapter), adapter, steps, guidance, local. The exit status is 0 where a picture was written, with
warnings or without, and 2 where none was: a caption that is empty or names nothing that the models know, bad boxes, no
models.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from PIL import Image

from gillnext import layouts
from gillnext.overlay import draw_boxes
from gillnext.runtime import files
from gillnext.runtime.errors import UserError
from gillnext.sample.painter import GIVEN_STEPS, Painter, add_models, places, settings, steps_of

SIDE = 512  # pixels that small pictures are enlarged to


def parse_boxes(data: Any, caption: str, where: str, convention: str) -> layouts.Layout:
    """A layout of `caption` from boxes out of JSON, in any of their three forms; errors name `where` and the object."""
    if isinstance(data, dict) and "objects" not in data:
        data = [{"name": name, "bbox": box} for name, box in data.items()]
    objects = data["objects"] if isinstance(data, dict) else data
    size = {key: data[key] for key in ("width", "height") if isinstance(data, dict) and key in data}
    return layouts.from_row({"caption": caption, "objects": objects, **size}, where, convention)


def read_boxes(path: Path, caption: str, convention: str) -> layouts.Layout:
    """A layout from a boxes file; errors name the file and the object."""
    if not path.exists():
        raise UserError("no such file", where=str(path), remedy="give --boxes a JSON file of names and boxes")
    return parse_boxes(files.read_json(path), caption, str(path), convention)


def count(text: str) -> int:
    """A whole number of 1 or more, for argparse."""
    if int(text) < 1:
        raise ValueError
    return int(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("caption", help="what to draw, in Chinese")
    parser.add_argument("--out", type=Path, default=Path("picture.png"), help="the picture (default: picture.png)")
    parser.add_argument("--boxes", type=Path, help="JSON of names and boxes; without it the planner places the objects")
    parser.add_argument(
        "--convention", choices=("unit", "thousandths", "auto"), default="unit", help="how the boxes are written"
    )
    parser.add_argument("--show-boxes", action="store_true", help="draw the boxes and names over the picture")
    parser.add_argument(
        "--scale",
        type=count,
        help="enlargement of the saved picture (default: to a side of 512; larger ones as they are)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the noise")
    parser.add_argument(
        "--steps",
        type=count,
        help=f"of the sampler (default: sample.steps, as the run's scores; the demo's models draw no better with more; "
        f"{GIVEN_STEPS} with --base alone)",
    )
    parser.add_argument("--guidance", type=float, help="classifier-free (default: sample.guidance)")
    parser.add_argument(
        "--local", type=float, default=0.0, help="share of the first steps in which a box's pixels attend to it alone"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else on stdout")
    add_models(parser)


def main(args: argparse.Namespace) -> None:
    cfg = settings(args.config, args.results)
    steps = args.steps or steps_of(cfg, args)
    guidance = cfg.sample.guidance if args.guidance is None else args.guidance
    given = read_boxes(args.boxes, args.caption, args.convention) if args.boxes else None
    folders = places(cfg, args.results, vars(args), planned=given is None)
    painter = Painter(cfg, folders["base"], folders["planner"])
    used, warnings = (given, []) if given else painter.plan(args.caption)
    picture = painter.paint(used, folders["adapter"], args.seed, steps, guidance, args.local)
    warnings += painter.remarks(used)
    scale = args.scale or max(SIDE // max(picture.shape[:2]), 1)
    if args.show_boxes:
        image = draw_boxes(picture, used, scale)
    else:
        size = (picture.shape[1] * scale, picture.shape[0] * scale)
        image = Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC)
    with files.atomic(args.out) as temporary:
        image.save(temporary, "PNG")
    for warning in warnings:
        print(f"gillnext draw: warning: {warning}", file=sys.stderr)
    if args.json:
        answer = {
            "caption": args.caption, "objects": used.to_row()["objects"], "picture": str(args.out),
            "warnings": warnings, "seed": args.seed, "arm": None if args.adapter else cfg.study.reference,
            "adapter": str(folders["adapter"]), "steps": steps, "guidance": guidance,
            "local": args.local,
        }  # fmt: skip
        print(json.dumps(answer, ensure_ascii=False))
        return
    for name, box in zip(used.names, used.boxes, strict=True):
        print(f"{name} [{', '.join(f'{v:.2f}' for v in box)}]")
    print(f"wrote {args.out}")
