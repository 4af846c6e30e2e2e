"""Draw boxes with a base and an adapter that was trained on it.

python examples/draw_from_boxes.py results/demo/models/base results/demo/adapters/attn2/0 picture.png
"""

import argparse

from PIL import Image

from gillnext.adapter.pipeline import load
from gillnext.layouts import Layout

parser = argparse.ArgumentParser()
parser.add_argument("base", help="folder of a KolorsPipeline or StableDiffusionXLPipeline")
parser.add_argument("adapter", help="folder that `gillnext adapter` wrote")
parser.add_argument("out", help="the picture")
parser.add_argument("--steps", type=int, default=25)
args = parser.parse_args()

# Names with boxes: left, top, right and bottom in fractions of the picture.
layout = Layout("一只猫和一棵树", names=("猫", "树"), boxes=((0.1, 0.3, 0.5, 0.8), (0.6, 0.1, 0.95, 0.6)))

pipeline = load(args.base, args.adapter)
pictures, _ = pipeline.draw([layout.caption], [layout], steps=args.steps)
Image.fromarray((pictures[0] * 255).round().astype("uint8")).save(args.out)
