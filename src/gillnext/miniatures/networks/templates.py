"""A box evaluator that learns nothing: colour and shape templates, a cross-check of the learned one.

It knows how the world paints: a light background that changes linearly from top to bottom, and each class's own
drawing in its palette's colours. Every connected part of the foreground, and every connected patch of a palette
colour, suggests boxes; a box is scored for a class by how much of what is drawn or seen there agrees in colour.

    detections = TemplateDetector.from_pretrained(folder).detect(images)

Letters: B images, H rows, W columns, C = 3 channels; L lines; P hypotheses (a box and a class), G cells of the
templates' grid, K classes, M detections. Boxes are xyxy in pixels here, in [0, 1] in the detections.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from safetensors.numpy import load_file, save_file
from scipy import ndimage

from gillnext.instruments.detections import Detections
from gillnext.miniatures.networks.folders import read_config
from gillnext.runtime import files

INNER = 16  # cells across the box
MARGIN = 2  # cells around it, which should show background
GRID = INNER + 2 * MARGIN
THRESHOLD = 0.5  # agreement from which a hypothesis is a detection
CONTRAST = 0.05  # least distance from the background that counts as foreground, largest channel difference
NOISE = 4.0  # or this many times the median distance of background pixels, where that is more
NEAR = 0.15  # distance within which a pixel has a palette colour, largest channel difference
JITTER = 0.10  # how far a body colour may lie from its palette's, each channel
ALIKE = 0.40  # colour distance at which agreement is nil
LEAST = 24  # pixels of the smallest patch that suggests a box
SIDES = (10.0, 44.0)  # pixels of the shortest and longest side of a box that is suggested
COVERED = 0.3  # share of the smaller of two boxes that both may share
PROMISING = 0.35  # agreement from which a hypothesis is refined
STEPS = (2.0, 0.7)  # pixels by which a side is moved to fit better
EIGHT = np.ones((3, 3), dtype=bool)  # neighbours that touch at a corner count


@dataclass(frozen=True)
class Templates:
    """All classes' drawings on one grid, in the order of the detector's `classes`.

    `body_KGG` and `cover_KGG` in [0, 1]: share of a cell in the body colour, and under any shape;
    `fixed_KGGC`: what the other colours add; `palette_K2C`: the body colours, RGB in [0, 1]; `extents`: for each
    class (E, 4), xyxy in the unit square of what a patch of the body colour may be.
    """

    body_KGG: np.ndarray
    cover_KGG: np.ndarray
    fixed_KGGC: np.ndarray
    palette_K2C: np.ndarray
    extents: tuple[np.ndarray, ...]


def largest(difference: np.ndarray) -> np.ndarray:
    """The largest absolute value over the last axis of three channels; quicker than NumPy's reduction."""
    d = np.abs(difference)
    return np.maximum(np.maximum(d[..., 0], d[..., 1]), d[..., 2])


def background(image_HWC: np.ndarray) -> np.ndarray:
    """The colour of each row's background, (H, C): the line from top to bottom that most pixels lie on.

    Candidate lines join a light pixel of the uppermost rows with one of the lowest; the best is fitted again to the
    pixels near it.
    """
    height, width, _ = image_HWC.shape
    t_H = (np.arange(height) + 0.5) / height
    few = image_HWC[::3, ::3]
    columns = np.linspace(0, width - 1, 10).astype(int)
    first, last = 2, height - 3
    tops_L3 = np.repeat(image_HWC[first, columns], len(columns), 0)  # L lines: every pair of ends
    bottoms_L3 = np.tile(image_HWC[last, columns], (len(columns), 1))
    slopes_L3 = (bottoms_L3 - tops_L3) / (t_H[last] - t_H[first])
    lines_LH3 = tops_L3[:, None] + (t_H[::3, None] - t_H[first]) * slopes_L3[:, None]
    near_L = (largest(few - lines_LH3[:, :, None].astype(few.dtype)) < CONTRAST).sum((1, 2))
    most = int(near_L.argmax())
    best = np.stack([tops_L3[most] - t_H[first] * slopes_L3[most], slopes_L3[most]])
    design_H2 = np.stack([np.ones(height), t_H], 1)
    for _ in range(3):
        near_HW = largest(image_HWC - (design_H2 @ best)[:, None]) < CONTRAST
        if near_HW.sum() < width:
            break
        rows = np.nonzero(near_HW)[0]
        best = np.linalg.lstsq(design_H2[rows], image_HWC[near_HW], rcond=None)[0]
    return (design_H2 @ best).astype(image_HWC.dtype)


def foreground(image_HWC: np.ndarray, behind_HWC: np.ndarray) -> np.ndarray:
    """Pixels that stand out from the background and its noise, (H, W) bool."""
    distance_HW = largest(image_HWC - behind_HWC)
    near = distance_HW[distance_HW < CONTRAST]
    return distance_HW > max(CONTRAST, NOISE * float(np.median(near)) if near.size else 0.0)


def _patches(mask_HW: np.ndarray) -> Iterator[np.ndarray]:
    """xyxy of every connected patch of at least `LEAST` pixels, and of all of them together."""
    if np.count_nonzero(mask_HW) < LEAST:
        return
    labelled, _ = ndimage.label(mask_HW, EIGHT)
    sizes = np.bincount(labelled.ravel())[1:]
    found = [
        np.array([columns.start, rows.start, columns.stop, rows.stop], dtype=float)
        for (rows, columns), size in zip(ndimage.find_objects(labelled), sizes, strict=True)
        if size >= LEAST
    ]
    yield from found
    if len(found) > 1:
        corners = np.stack(found)
        yield np.concatenate([corners[:, :2].min(0), corners[:, 2:].max(0)])


def hypotheses(known: Templates, image_HWC: np.ndarray, seen_HW: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (P, 4) in pixels with the class (P,) that each is suggested for.

    A patch of foreground is suggested for every class; a patch of a palette colour, as the body of its class, whose
    drawing tells how the box lies around its body.
    """
    boxes: list[np.ndarray] = []
    kinds: list[int] = []
    for box in _patches(seen_HW):
        boxes += [box] * len(known.extents)
        kinds += range(len(known.extents))
    for kind, (palette, extents_E4) in enumerate(zip(known.palette_K2C, known.extents, strict=True)):
        for colour in palette:
            for box in _patches(seen_HW & (largest(image_HWC - colour) <= NEAR)):
                for part in extents_E4:
                    side = (box[2:] - box[:2]) / (part[2:] - part[:2])
                    corner = box[:2] - part[:2] * side
                    boxes.append(np.concatenate([corner, corner + side]))
                    kinds.append(kind)
    boxes_P4, kinds_P = np.array(boxes).reshape(-1, 4), np.array(kinds, dtype=np.int64)
    sides_P2 = boxes_P4[:, 2:] - boxes_P4[:, :2]
    fits_P = (sides_P2 >= SIDES[0]).all(1) & (sides_P2 <= SIDES[1]).all(1)
    return boxes_P4[fits_P], kinds_P[fits_P]


def _crops(picture_HWX: np.ndarray, boxes_P4: np.ndarray) -> np.ndarray:
    """The picture (H, W, X) under the templates' grid laid on each box, (P, G, G, X); bilinear, edges repeated."""
    cells_G = (np.arange(GRID) - MARGIN + 0.5) / INNER
    height, width = picture_HWX.shape[:2]
    x_PG, y_PG = (
        np.clip(boxes_P4[:, [i]] + cells_G * (boxes_P4[:, [i + 2]] - boxes_P4[:, [i]]) - 0.5, 0, most - 1)
        for i, most in ((0, width), (1, height))
    )
    x0, y0 = np.minimum(x_PG.astype(int), width - 2), np.minimum(y_PG.astype(int), height - 2)
    fx = (x_PG - x0).astype(np.float32)[:, None, :, None]
    fy = (y_PG - y0).astype(np.float32)[:, :, None, None]
    pixels_NX, first_PGG = picture_HWX.reshape(height * width, -1), y0[:, :, None] * width + x0[:, None, :]
    upper, right, lower, lower_right = (
        pixels_NX.take(first_PGG + step, axis=0) for step in (0, 1, width, width + 1)
    )  # `take` is quicker than indices in two axes
    for row, beside in ((upper, right), (lower, lower_right)):
        row *= 1 - fx
        beside *= fx
        row += beside
    upper *= 1 - fy
    lower *= fy
    upper += lower
    return upper


def agreement(known: Templates, stack_HW7: np.ndarray, boxes_P4: np.ndarray, kinds_P: np.ndarray) -> np.ndarray:
    """How well each hypothesis explains its box, (P,) in [0, 1]; `stack_HW7`: image, background, foreground.

    The share of what is drawn or seen (the union of both masks) that agrees in colour: an intersection over union
    in which a pixel counts 1 − distance / `ALIKE`.
    """
    crops = _crops(stack_HW7, boxes_P4)
    seen_PGGC, behind_PGGC, mask_PGG = crops[..., :3], crops[..., 3:6], crops[..., 6]
    body_PGG, cover_PGG = known.body_KGG[kinds_P], known.cover_KGG[kinds_P]
    weight_PGG = body_PGG > 0.9
    mean_PC = (seen_PGGC * weight_PGG[..., None]).sum((1, 2)) / weight_PGG.sum((1, 2))[:, None]
    palette_P2C = known.palette_K2C[kinds_P]
    nearest_P = largest(palette_P2C - mean_PC[:, None]).argmin(1)
    base_PC = palette_P2C[np.arange(len(kinds_P)), nearest_P]
    colour_PC = np.clip(mean_PC, base_PC - JITTER, base_PC + JITTER)
    drawn_PGGC = body_PGG[..., None] * colour_PC[:, None, None] + known.fixed_KGGC[kinds_P]
    drawn_PGGC += (1 - cover_PGG)[..., None] * behind_PGGC
    alike_PGG = np.maximum(1 - largest(seen_PGGC - drawn_PGGC) / ALIKE, 0)
    union_PGG = np.maximum(mask_PGG, cover_PGG)
    return (alike_PGG * union_PGG).sum((1, 2)) / union_PGG.sum((1, 2))


def select(boxes_P4: np.ndarray, scores_P: np.ndarray) -> list[int]:
    """Hypotheses by falling score, without those that share more than `COVERED` of a box with a better one."""
    taken: list[int] = []
    area_P = (boxes_P4[:, 2:] - boxes_P4[:, :2]).prod(1)
    for i in np.argsort(-scores_P, kind="stable"):
        low, high = np.maximum(boxes_P4[i, :2], boxes_P4[taken, :2]), np.minimum(boxes_P4[i, 2:], boxes_P4[taken, 2:])
        shared = np.clip(high - low, 0, None).prod(1) / np.minimum(area_P[i], area_P[taken])
        if not (shared > COVERED).any():
            taken.append(int(i))
    return taken


def refine(
    known: Templates, stack_HW7: np.ndarray, boxes_M4: np.ndarray, kinds_M: np.ndarray, scores_M: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Move each side by a step where that raises the agreement; the boxes (M, 4) and their scores (M,)."""
    for step in STEPS:
        for side in range(4):
            moved = np.zeros((2, 1, 4))
            moved[:, 0, side] = step, -step
            tried = (boxes_M4 + moved).reshape(-1, 4)
            scores_2M = agreement(known, stack_HW7, tried, np.tile(kinds_M, 2)).reshape(2, -1)
            for change, scores in zip(moved, scores_2M, strict=True):
                better = scores > scores_M
                boxes_M4 = np.where(better[:, None], boxes_M4 + change, boxes_M4)
                scores_M = np.where(better, scores, scores_M)
    return boxes_M4, scores_M


def detect_one(known: Templates, image: np.ndarray) -> Detections:
    """Detections of one (H, W, 3) uint8 image, by falling score."""
    height, width = image.shape[:2]
    image_HWC = image.astype(np.float32) / 255
    behind_HWC = np.repeat(background(image_HWC)[:, None], width, axis=1)
    seen_HW = foreground(image_HWC, behind_HWC)
    stack_HW7 = np.concatenate([image_HWC, behind_HWC, seen_HW[..., None]], 2)
    boxes_P4, kinds_P = hypotheses(known, image_HWC, seen_HW)
    scores_P = agreement(known, stack_HW7, boxes_P4, kinds_P)
    likely = np.flatnonzero(scores_P > PROMISING)
    chosen = likely[select(boxes_P4[likely], scores_P[likely])]
    boxes_M4, scores_M = refine(known, stack_HW7, boxes_P4[chosen], kinds_P[chosen], scores_P[chosen])
    order = np.argsort(-scores_M, kind="stable")
    order = order[scores_M[order] >= THRESHOLD]
    unit_M4 = np.clip(boxes_M4[order] / (width, height, width, height), 0, 1)
    return Detections(unit_M4, kinds_P[chosen][order], scores_M[order])


class TemplateDetector:
    """The evaluator that learns nothing, behind `detect`, `save_pretrained` and `from_pretrained`."""

    architecture: ClassVar[str] = "gillnext-templates"
    description: ClassVar[str] = f"templates of colour and shape, nothing learned; agreement of at least {THRESHOLD}"

    def __init__(self, known: Templates, classes: list[str]) -> None:
        self.known, self.classes = known, list(classes)

    def detect(self, images: np.ndarray, batch: int = 1) -> list[Detections]:
        """Detections of each of `images` (B, H, W, 3) uint8 RGB; the same pictures give the same answer."""
        return [detect_one(self.known, image) for image in images]

    def save_pretrained(self, folder: Path | str) -> None:
        """Write config.json and model.safetensors into `folder`."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        files.write_json(folder / "config.json", {"architecture": self.architecture, "classes": self.classes})
        arrays = {name: value for name, value in vars(self.known).items() if name != "extents"}
        arrays |= {f"extents.{k}": value for k, value in enumerate(self.known.extents)}
        save_file({name: np.ascontiguousarray(value) for name, value in arrays.items()}, folder / "model.safetensors")

    @classmethod
    def from_pretrained(cls, folder: Path | str) -> TemplateDetector:
        """Read a folder that `save_pretrained` wrote."""
        config = read_config(folder, cls.architecture)
        arrays = load_file(Path(folder) / "model.safetensors")
        parts = tuple(arrays.pop(f"extents.{k}") for k in range(len(config["classes"])))
        return cls(Templates(**arrays, extents=parts), config["classes"])
