"""Give a diffusers pipeline boxes: whatever it is loaded, moved and scheduled with stays.

python examples/attach_to_diffusers.py stable-diffusion-xl-base-1.0 results/wukong/adapters/attn2/0 picture.png
"""

import argparse

from diffusers import DiffusionPipeline, DPMSolverMultistepScheduler, KolorsPipeline

from gillnext.adapter.model import SpatialAdapter
from gillnext.adapter.pipeline import GroundedKolorsPipeline, GroundedSDXLPipeline
from gillnext.layouts import Layout

parser = argparse.ArgumentParser()
parser.add_argument("base", help="folder of a KolorsPipeline or StableDiffusionXLPipeline")
parser.add_argument("adapter", help="folder that `gillnext adapter` wrote for this base")
parser.add_argument("out", help="the picture")
parser.add_argument("--steps", type=int, default=25)
args = parser.parse_args()

pipe = DiffusionPipeline.from_pretrained(args.base, local_files_only=True)
pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)

grounded = GroundedKolorsPipeline if isinstance(pipe, KolorsPipeline) else GroundedSDXLPipeline
pipe = grounded.from_pipe(pipe, adapter=SpatialAdapter.from_pretrained(args.adapter))

layout = Layout("a cat and a tree", names=("cat", "tree"), boxes=((0.1, 0.3, 0.5, 0.8), (0.6, 0.1, 0.95, 0.6)))
pipe(layout.caption, layouts=[layout], num_inference_steps=args.steps).images[0].save(args.out)
