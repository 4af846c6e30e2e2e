"""Draw a caption: the planner places its objects, the adapter draws them there.

    python examples/draw_from_a_caption.py results/demo/models/base results/demo/adapters/attn2/0 \\
        results/demo/models/planner 左边是一棵树，右边是一座房子 picture.png
"""

import argparse

from PIL import Image

from gillnext.adapter.pipeline import load
from gillnext.planner.model import Planner

parser = argparse.ArgumentParser()
parser.add_argument("base", help="folder of a KolorsPipeline or StableDiffusionXLPipeline")
parser.add_argument("adapter", help="folder that `gillnext adapter` wrote")
parser.add_argument("planner", help="folder that `gillnext planner` wrote")
parser.add_argument("caption", help="what to draw, in Chinese")
parser.add_argument("out", help="the picture")
parser.add_argument("--steps", type=int, default=25)
args = parser.parse_args()

pipeline = load(args.base, args.adapter)
pipeline.planner = Planner.from_pretrained(args.planner)
pictures, (layout,) = pipeline.draw([args.caption], steps=args.steps)
for name, box in zip(layout.names, layout.boxes, strict=True):
    print(name, [round(side, 2) for side in box])
Image.fromarray((pictures[0] * 255).round().astype("uint8")).save(args.out)
