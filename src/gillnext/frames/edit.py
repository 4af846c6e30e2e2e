"""Draw what an instruction makes of one clip.

    gillnext edit results/demo/supplement/clips/test/move/00000 --instruction 让猫接着移动 \\
        --model results/demo/supplement/pix2pix/20 --out picture.png

CLIP is a folder of frames (00.jpg, 01.jpg, …) of which as many are read as the model takes, the first ones; or a
picture, for a model of one frame. A target that lies behind the frames is not looked at.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

from gillnext.config.arguments import add_config, add_out, config
from gillnext.frames import clips, text
from gillnext.frames.loading import load
from gillnext.runtime import files, training
from gillnext.runtime.errors import UserError


def frames_of(clip: Path, count: int) -> list[Image.Image]:
    """The first `count` frames of a clip's folder, or one picture; `UserError` where they are fewer or of two sizes."""
    if clip.is_file() and count == 1:
        return [clips.picture(clip, clip.parent.name)]
    if not clip.is_dir():
        remedy = "the folder of a clip" + (", or a picture" if count == 1 else "")
        raise UserError("no such clip", where=str(clip), remedy=remedy)
    found: list[Image.Image] = []
    for k in range(count):
        image = clips.picture(clip / f"{k:02d}.jpg", clip.name)
        if found and image.size != found[0].size:
            sizes = [f"{one.size[0]}×{one.size[1]}" for one in (image, found[0])]
            what = f"it has {sizes[0]} pixels, the first frame {sizes[1]}"
            raise clips.broken(what, clip.name, f"{k:02d}.jpg", "frames of one size")
        found.append(image)
    return found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("clip", type=Path, metavar="CLIP", help="folder of frames, or a picture for a model of one")
    add_config(parser)
    parser.add_argument("--instruction", required=True, metavar="TEXT", help="what is to be done")
    parser.add_argument(
        "--model", type=Path, required=True, metavar="DIR", help="pipeline that `gillnext pix2pix` wrote"
    )
    parser.add_argument(
        "--text-guidance", type=float, metavar="S", help="scale (default: frames.drawing.text_guidance)"
    )
    parser.add_argument(
        "--image-guidance", type=float, metavar="S", help="scale (default: frames.drawing.image_guidance)"
    )
    parser.add_argument("--steps", type=int, metavar="N", help="of the sampler (default: frames.drawing.steps)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="names the noise (default: 0)")
    add_out(parser, "picture (.png, .jpg)")


def main(args: argparse.Namespace) -> None:
    cfg = config(args)
    asked = cfg.frames.drawing
    training.setup(cfg.run.threads, cfg.run.device)
    pipeline = load(args.model).to(cfg.run.device)
    for line in text.heard(pipeline.tokenizer, [args.instruction]).told()[:1]:
        print(line)
    found = pipeline(
        args.instruction,
        frames_of(args.clip, pipeline.frames),
        num_inference_steps=args.steps or asked.steps,
        guidance_scale=asked.text_guidance if args.text_guidance is None else args.text_guidance,
        image_guidance_scale=asked.image_guidance if args.image_guidance is None else args.image_guidance,
        seed=args.seed,
    )
    with files.atomic(args.out) as temporary:
        found.images[0].save(temporary, format="JPEG" if args.out.suffix in (".jpg", ".jpeg") else "PNG")
    print(args.out)
