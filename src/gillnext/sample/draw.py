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

import numpy as np
from PIL import Image

from gillnext import layouts
from gillnext.adapter import pipeline as grounded
from gillnext.adapter.phrases import PREFIX, text_length
from gillnext.config.load import load
from gillnext.config.model import Config
from gillnext.overlay import draw_boxes
from gillnext.planner.model import Planner
from gillnext.roles import sources
from gillnext.runtime import files, manifest, training
from gillnext.runtime.errors import UserError
from gillnext.sample import remarks, sizes
from gillnext.sample.stage import dtype

GIVEN_STEPS = 25  # of a base that no settings are named for: the demo's few would leave its pictures unfinished
SIDE = 512  # pixels that small pictures are enlarged to


def settings(args: argparse.Namespace) -> Config:
    """The settings of --config, else those that the run of the results was made with, else config.yaml."""
    if args.config:
        return load(*args.config)
    default = Path("config.yaml")
    results = args.results or Path("results") / load(default).run.tier
    own = results / "config.json"
    return load(own if own.exists() else default)


def read_boxes(path: Path, caption: str, convention: str) -> layouts.Layout:
    """A layout from a boxes file; errors name the file and the object."""
    if not path.exists():
        raise UserError("no such file", where=str(path), remedy="give --boxes a JSON file of names and boxes")
    data: Any = files.read_json(path)
    if isinstance(data, dict) and "objects" not in data:
        data = [{"name": name, "bbox": box} for name, box in data.items()]
    objects = data["objects"] if isinstance(data, dict) else data
    size = {key: data[key] for key in ("width", "height") if isinstance(data, dict) and key in data}
    return layouts.from_row({"caption": caption, "objects": objects, **size}, str(path), convention)


def base_of(cfg: Config, results: Path) -> Path:
    """The folder of the base that a run with these results drew with."""
    source = sources.read("base", cfg.models.base)
    return results / "given/base" if source.hub else Path(source.path or results / "models/base")


def models(cfg: Config, args: argparse.Namespace) -> dict[str, Path]:
    """The folders of base, adapter and planner: named, or those of a run's results, or the kept ones where no run is
    named and none has an adapter; these are checked against their manifest.
    """
    results, study = args.results or Path("results") / cfg.run.tier, cfg.study
    own, kept = results / "adapters" / study.reference / str(study.seeds_of(study.reference)[0]), Path(sources.MODELS)
    if own.exists() or args.results or not (kept / sources.DRAWING).exists():
        places = {"adapter": own, "planner": results / "models/planner"}
    else:
        if not (args.adapter and args.planner):
            manifest.check(kept / sources.DRAWING)
        places = {name: kept / sources.DRAWING / name for name in ("adapter", "planner")}
    found = {
        "base": args.base or base_of(cfg, results),
        **{name: getattr(args, name) or place for name, place in places.items()},
    }
    for name, folder in found.items():
        if not folder.exists() and not (name == "planner" and args.boxes):
            raise UserError(
                f"the {name} is not there",
                where=str(folder),
                remedy=f"run `make paper` first, or name it with --{name}",
            )
    return found


def plan(planner: Planner, caption: str, closed: bool) -> layouts.Layout:
    """The planner's layout; a `UserError` where the caption names no object, or none of a `closed` vocabulary."""
    (layout,) = planner.plan([caption])
    if not layout.names or (closed and not set(layout.names) & set(planner.nouns)):
        known = f"name some of {remarks.listed(planner.nouns)}" if planner.nouns else "name what is to be drawn"
        raise UserError(
            "it names nothing that these models can draw",
            where=f"the caption {caption[:40]!r}",
            remedy=f"{known}, or place objects with --boxes",
        )
    return layout


def draw(
    cfg: Config, folders: dict[str, Path], caption: str, layout: layouts.Layout | None,
    seed: int, steps: int, guidance: float, local: float = 0.0,
) -> tuple[np.ndarray, layouts.Layout, list[str]]:  # fmt: skip
    """The picture (H, W, 3) uint8, the layout that it follows (the planner's where None is given), and warnings."""
    training.setup(cfg.run.threads, cfg.run.device)
    no_boxes = layout is not None and not layout.names
    warnings = ["there are no boxes: the caption alone is drawn"] if no_boxes else []
    if folders["planner"].exists():
        planner = Planner.from_pretrained(folders["planner"])
        closed = remarks.closed(cfg, planner)
        if layout is None:
            layout = plan(planner, caption, closed)
            warnings += remarks.of_plan(layout, planner.nouns)
        if closed:
            warnings += remarks.of_words(layout, planner)
    assert layout is not None  # `models` has looked for the planner
    pipeline = grounded.load(folders["base"], folders["adapter"], cfg.run.device, dtype(cfg))
    (size,) = sizes.wanted([layout], pipeline, cfg.sample.size)
    tokens, most = len(pipeline.tokenizer.tokenize(caption)) + PREFIX, text_length(pipeline)
    if tokens > most:
        warnings.append(f"the caption has {tokens} tokens; the text encoder reads {most}")
    images, _ = pipeline.draw(
        [caption], [layout], keys=[("draw", seed)], steps=steps, guidance=guidance, size=size, local=local
    )
    return (images[0] * 255).round().astype(np.uint8), layout, warnings


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
    parser.add_argument("--results", type=Path, help="results of the run whose models draw (default: results/TIER)")
    for name in ("base", "adapter", "planner"):
        parser.add_argument(f"--{name}", type=Path, help=f"folder of the {name} (default: that of the results)")
    parser.add_argument(
        "--config",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="settings; later files go on top (default: config.json of the results, without it config.yaml)",
    )


def main(args: argparse.Namespace) -> None:
    cfg = settings(args)
    given = args.base and not (args.config or args.results)
    steps = args.steps or (GIVEN_STEPS if given else cfg.sample.steps)
    guidance = cfg.sample.guidance if args.guidance is None else args.guidance
    layout = read_boxes(args.boxes, args.caption, args.convention) if args.boxes else None
    folders = models(cfg, args)
    picture, used, warnings = draw(cfg, folders, args.caption, layout, args.seed, steps, guidance, args.local)
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
        told = {
            "caption": args.caption, "objects": used.to_row()["objects"], "picture": str(args.out),
            "warnings": warnings, "seed": args.seed, "arm": None if args.adapter else cfg.study.reference,
            "adapter": str(folders["adapter"]), "steps": steps, "guidance": guidance,
            "local": args.local,
        }  # fmt: skip
        print(json.dumps(told, ensure_ascii=False))
        return
    for name, box in zip(used.names, used.boxes, strict=True):
        print(f"{name} [{', '.join(f'{v:.2f}' for v in box)}]")
    print(f"wrote {args.out}")
