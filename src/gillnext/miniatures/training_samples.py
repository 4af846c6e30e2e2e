"""What the base model draws its batches from: whole pictures, and windows around one object.

A window is a quarter of the latents around one object, with a caption of what it shows and SDXL's size conditions
(original size, corner of the crop, target size; Podell et al., 2023). It costs a quarter of a picture, and its one
object leaves no doubt which word means which shape.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from gillnext.diffusion.objective import size_conditions
from gillnext.miniatures.class_map import class_map
from gillnext.miniatures.world import captions
from gillnext.miniatures.world.corpus import Corpus
from gillnext.miniatures.world.scenes import SIZE, Scene
from gillnext.runtime import seeds

SPATIAL = 0.3  # share of pictures whose caption tells places
SHOWN = 0.5  # share of an object that a window must show for its caption to name it

Encode = Callable[[Sequence[str]], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class TrainingSamples:
    """Latents (N, C, h, w), class maps (N, h, w), size conditions (N, 6) in pixels, and the number of each one's
    caption, (N,).

    `states` (K + 1, T, D) and `pooled` (K + 1, D) are those of the K different captions, and last of the empty one.
    """

    latents: Tensor
    maps: Tensor
    time_ids: Tensor
    caption: Tensor
    states: Tensor
    pooled: Tensor

    def __len__(self) -> int:
        return len(self.latents)

    @classmethod
    def of(
        cls, latents: Tensor, maps: Tensor, time_ids: Tensor, texts: Sequence[str], encode: Encode
    ) -> TrainingSamples:
        """Samples of latents (N, C, h, w), class maps (N, h, w) and size conditions (N, 6), with a caption each; every
        different caption is encoded once.
        """
        different = list(dict.fromkeys(texts))
        number = {caption: i for i, caption in enumerate(different)}
        index = torch.tensor([number[caption] for caption in texts])
        return cls(latents, maps, time_ids, index, *encode([*different, ""]))


def picture_captions(scenes: Sequence[Scene], namings: Sequence[str], seed: int) -> list[str]:
    """Naming captions, and spatial ones for a share of the pictures."""
    written = []
    for i, (scene, naming) in enumerate(zip(scenes, namings, strict=True)):
        rng = seeds.rng("base-caption", seed, i)
        spatial = captions.spatial(scene, rng, "train") if rng.random() < SPATIAL else None
        written.append(spatial[0] if spatial else naming)
    return written


def pictures(
    scenes: Sequence[Scene], latents: Tensor, texts: Sequence[str], encode: Encode, size: int = SIZE
) -> TrainingSamples:
    """Every whole picture, of `size` pixels a side, with its caption; latents (N, C, h, w)."""
    maps = torch.stack([class_map(scene, latents.shape[-1]) for scene in scenes])
    return TrainingSamples.of(latents, maps, size_conditions(len(latents), size), texts, encode)


def starts(low: float, high: float, side: int, cells: int) -> range:
    """Where a window of `side` cells may start to hold [low, high], the nearest place where none holds it whole."""
    first, last = max(int(np.ceil(high - side)), 0), min(int(np.floor(low)), cells - side)
    if first > last:
        first = last = int(np.clip(round((low + high - side) / 2), 0, cells - side))
    return range(first, last + 1)


def visible(scene: Scene, corner: tuple[int, int], side: int, cells: int) -> np.ndarray:
    """The share of each object's box (N,) that a window at `corner` (y, x) shows."""
    boxes = scene.boxes * cells
    low = np.maximum(boxes[:, :2], (corner[1], corner[0]))
    high = np.minimum(boxes[:, 2:], (corner[1] + side, corner[0] + side))
    return np.clip(high - low, 0, None).prod(1) / (boxes[:, 2:] - boxes[:, :2]).prod(1)


def window(scene: Scene, index: int, side: int, cells: int, rng: np.random.Generator) -> tuple[tuple[int, int], str]:
    """Corner (y, x) and caption of the window around object `index` that shows the least of the others."""
    x1, y1, x2, y2 = scene.boxes[index] * cells
    corners = list(itertools.product(starts(y1, y2, side, cells), starts(x1, x2, side, cells)))
    seen = [visible(scene, corner, side, cells) for corner in corners]
    crowd = np.array([np.delete(shares, index).sum() for shares in seen])
    emptiest = np.flatnonzero(crowd == crowd.min())
    pick = int(emptiest[rng.integers(len(emptiest))])
    shown = tuple(thing for thing, share in zip(scene.objects, seen[pick], strict=True) if share > SHOWN)
    return corners[pick], captions.naming(replace(scene, objects=shown), rng)


def windows(data: Corpus, latents: Tensor, seed: int, encode: Encode) -> TrainingSamples:
    """A window of half the side of the latents (N, C, h, w) around every object of every picture."""
    cells = latents.shape[-1]
    side, pixels = cells // 2, data.images.shape[1] // cells
    parts, maps, corners, written = [], [], [], []
    for i, scene in enumerate(data.scenes):
        rng, whole = seeds.rng("base-window", seed, i), class_map(scene, cells)
        for k in range(len(scene.objects)):
            (top, left), caption = window(scene, k, side, cells, rng)
            parts.append(latents[i, :, top : top + side, left : left + side])
            maps.append(whole[top : top + side, left : left + side])
            corners.append((top, left))
            written.append(caption)
    conditions = size_conditions(len(parts), cells * pixels, side * pixels)
    conditions[:, 2:4] = torch.tensor(corners) * pixels
    return TrainingSamples.of(torch.stack(parts), torch.stack(maps), conditions, written, encode)
