"""What the drawn world's base learns from, made by every core of the machine: pictures, maps, windows, captions."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np

from gillnext.miniatures import training_samples
from gillnext.miniatures.class_map import class_map
from gillnext.miniatures.world import captions, scenes
from gillnext.runtime import seeds

CELLS = 16  # of the latents, a side
SIDE = CELLS // 2  # cells of a window


@dataclass(frozen=True)
class Pictures:
    """`images` (N, 64, 64, 3) uint8, class `maps` (N, 16, 16), a caption each; of every object's window the `picture`
    that it is cut from, its `corners` (y, x) in cells, and its caption.
    """

    images: np.ndarray
    maps: np.ndarray
    texts: list[str]
    picture: np.ndarray
    corners: np.ndarray
    window_texts: list[str]


def some(seed: int, stream: str, begin: int, end: int) -> Pictures:
    """The pictures of the scenes `begin` to `end` of a stream, as the demo's base learns from them."""
    images, maps, texts, picture, corners, window_texts = [], [], [], [], [], []
    for i in range(begin, end):
        scene = scenes.sample(seed, stream, i)
        images.append(scenes.render(scene))
        maps.append(class_map(scene, CELLS).numpy())
        named = captions.naming(scene, seeds.rng("caption", seed, stream, i))
        rng = seeds.rng("base-caption", seed, i)
        spatial = captions.spatial(scene, rng, "train") if rng.random() < training_samples.SPATIAL else None
        texts.append(spatial[0] if spatial else named)
        rng = seeds.rng("base-window", seed, i)
        for k in range(len(scene.objects)):
            corner, text = training_samples.window(scene, k, SIDE, CELLS, rng)
            picture.append(i - begin)
            corners.append(corner)
            window_texts.append(text)
    return Pictures(np.stack(images), np.stack(maps), texts, np.array(picture), np.array(corners), window_texts)


def make(seed: int, stream: str, count: int) -> Pictures:
    """The first `count` pictures of a stream, in their order. Forks: before CUDA begins."""
    part = max(count // 64, 50)
    begins = range(0, count, part)
    with ProcessPoolExecutor(os.cpu_count(), get_context("fork")) as pool:
        ends = [min(begin + part, count) for begin in begins]
        parts = list(pool.map(some, [seed] * len(ends), [stream] * len(ends), begins, ends))
    return joined(parts, list(begins))


def joined(parts: Sequence[Pictures], begins: Sequence[int]) -> Pictures:
    """Parts that begin at these pictures, as one."""
    return Pictures(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.maps for part in parts]),
        [text for part in parts for text in part.texts],
        np.concatenate([part.picture + begin for part, begin in zip(parts, begins, strict=True)]),
        np.concatenate([part.corners for part in parts]),
        [text for part in parts for text in part.window_texts],
    )
