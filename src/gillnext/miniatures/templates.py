"""What each class looks like, from its own drawing: the templates of the rule-based evaluator.

A drawing is linear in its body colour, so that one rendering a class serves every colour and background: a cell
shows `body` · body colour + `fixed` + (1 − `cover`) · background. The jitter of the drawings is averaged.

    gillnext templates --out results/demo/models/templates

Photographs have no such drawing, and hundreds of templates would tell them badly: a world of cut-outs has a second
trained evaluator instead (`second_evaluator.py`).

Letters: K classes, G cells a side of the grid, C = 3 channels.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy import ndimage

from gillnext.config import arguments
from gillnext.config.data import DRAWN_OBJECTS
from gillnext.miniatures.networks.templates import INNER, MARGIN, TemplateDetector, Templates
from gillnext.miniatures.world.classes import CLASSES, Colour, ObjectClass
from gillnext.miniatures.world.drawing import paint
from gillnext.runtime import files, seeds
from gillnext.runtime.errors import UserError

DRAWS = 8  # drawings of a class that its template averages
FINE = 100  # cells across the box when parts are measured
THIN = 12  # of these cells; narrower parts of a body vanish in a blurred picture
MARK: Colour = (-1.0, -1.0, -1.0)  # stands for the body colour
NONE: Colour = (0.0, 0.0, 0.0)


def draw(kind: ObjectClass, inner: int, margin: int) -> tuple[np.ndarray, np.ndarray]:
    """One class's mean drawing with `inner` cells across its box: shares (G, G, 2) of body and cover, and the fixed
    colours (G, G, 3).
    """
    size = inner + 2 * margin
    box_px = np.array([margin, margin, margin + inner, margin + inner], dtype=float)
    shares, fixed = np.zeros((size, size, 3)), np.zeros((size, size, 3))
    for number in range(DRAWS):
        layers, colours = np.zeros_like(shares), np.zeros_like(fixed)
        for shape, colour in kind.draw(seeds.rng("template", kind.id, number), MARK):
            is_body = colour == MARK
            paint(layers, shape, (float(is_body), 1.0, 0.0), box_px)
            paint(colours, shape, NONE if is_body else colour, box_px)
        shares, fixed = shares + layers / DRAWS, fixed + colours / DRAWS
    return shares[..., :2], fixed


def extents(body_GG: np.ndarray) -> np.ndarray:
    """xyxy in the unit square of the body, of the body without its thin parts, and of the whole drawing, (E, 4).

    The last is for a body that runs into a part of a like colour, as a brown hull into its mast.
    """
    solid_GG = body_GG > 0.5
    found = [(0.0, 0.0, 1.0, 1.0)]
    for part_GG in (solid_GG, ndimage.binary_opening(solid_GG, np.ones((THIN, THIN)))):
        ys, xs = np.nonzero(part_GG)
        if len(ys):
            box = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]) / len(body_GG)
            found.append(tuple(box))
    return np.unique(np.array(found), axis=0)


def make() -> TemplateDetector:
    """The detector of all classes by their drawings."""
    drawn = [draw(kind, INNER, MARGIN) for kind in CLASSES]
    shares_KGG2 = np.stack([shares for shares, _ in drawn]).astype(np.float32)
    known = Templates(
        shares_KGG2[..., 0], shares_KGG2[..., 1], np.stack([fixed for _, fixed in drawn]).astype(np.float32),
        np.array([kind.palette for kind in CLASSES], dtype=np.float32),
        tuple(extents(draw(kind, FINE, 0)[0][..., 0]) for kind in CLASSES),
    )  # fmt: skip
    return TemplateDetector(known, [kind.name for kind in CLASSES])


def check(objects: str) -> None:
    """Refuse a world that is not drawn: `objects` is the setting world.objects."""
    if objects != DRAWN_OBJECTS:
        raise UserError(
            "cut-outs and photographs have no templates",
            where=f"world.objects: {objects}",
            remedy="train a second evaluator (gillnext second_evaluator), or give one as models.second_evaluator",
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.add_config(parser)
    arguments.add_out(parser, "folder of the templates: config.json, model.safetensors")


def main(args: argparse.Namespace) -> None:
    if all(path.is_file() for path in args.config):
        check(arguments.config(args).world.objects)
    with files.atomic(args.out) as temporary:
        make().save_pretrained(temporary)
