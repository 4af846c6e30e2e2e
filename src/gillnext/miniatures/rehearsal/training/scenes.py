"""What the published miniatures learn from: the drawn world's scenes, of several aspect ratios."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from gillnext.boxes import iou
from gillnext.miniatures.world import captions
from gillnext.miniatures.world import scenes as world
from gillnext.miniatures.world.classes import CLASSES
from gillnext.runtime import seeds

SEED = 20260
WORDS = {kind.name: kind.key for kind in CLASSES}  # 猫: cat
SHAPES = ((64, 64), (88, 64), (64, 64), (64, 88), (120, 64), (64, 120))  # width and height in turn


@dataclass(frozen=True)
class Picture:
    """A picture with the names in it and their boxes, (K, 4) xyxy in [0, 1]; its caption names the same."""

    image: Image.Image
    names: tuple[str, ...]
    boxes: np.ndarray
    caption: str


def make(stream: str, count: int, draw: bool = True) -> list[Picture]:
    """The first `count` pictures of a stream of scenes (about 1 ms each), blank ones unless they are to `draw`."""
    made = []
    for i in range(count):
        scene, shape = world.sample(SEED, stream, i), SHAPES[i % len(SHAPES)]
        caption = _caption(scene, seeds.rng("caption", SEED, stream, i))
        image = Image.fromarray(world.render(scene, max(shape))) if draw else Image.new("RGB", shape)
        made.append(Picture(image.resize(shape, Image.Resampling.LANCZOS), scene.names, scene.boxes, caption))
    return made


def _caption(scene: world.Scene, rng: np.random.Generator) -> str:
    """A caption with places, with nearness or of names alone, a third each; none is worded as the release's are."""
    kind = rng.integers(3)
    if kind == 0 and (stated := captions.spatial(scene, rng, "train")):
        return stated[0]
    return captions.weak(scene, rng, "train") if kind == 1 else captions.naming(scene, rng)


def chance(pictures: list[Picture]) -> float:
    """Share of objects that a box of the world's own prior, drawn blindly, meets with an IoU of 0.5 or more."""
    rng = seeds.rng("blind", SEED)
    boxes = np.concatenate([picture.boxes for picture in pictures])
    blind = np.array([world.sample_boxes(rng, 1)[0] for _ in range(400)])
    return float((iou(boxes, blind) >= 0.5).mean())
