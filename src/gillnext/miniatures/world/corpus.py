"""Labelled scenes in memory: what foundations are trained on, each from a stream of its own.

Streams in use: base (VAE, UNet), clip, annotator, evaluator, features, val and test (held-out layouts),
prior. The shards' own scenes are the stream "world"; nothing is ever trained on their truth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gillnext.miniatures.world import captions
from gillnext.miniatures.world.objects import DRAWN, Objects
from gillnext.miniatures.world.scenes import Scene
from gillnext.runtime import seeds


@dataclass(frozen=True)
class Corpus:
    """`images` (N, size, size, 3) uint8; `captions` name the objects, not their places; boxes are in `scenes`."""

    scenes: list[Scene]
    images: np.ndarray
    captions: list[str]


def describe(seed: int, stream: str, count: int, objects: Objects = DRAWN) -> tuple[list[Scene], list[str]]:
    """The first `count` scenes of a stream and the captions that name their objects (about 0.2 ms each)."""
    content = [objects.sample(seed, stream, i) for i in range(count)]
    return content, [captions.naming(scene, seeds.rng("caption", seed, stream, i)) for i, scene in enumerate(content)]


def make(seed: int, stream: str, count: int, objects: Objects = DRAWN) -> Corpus:
    """The first `count` scenes of a stream, rendered (about 1 ms each)."""
    content, texts = describe(seed, stream, count, objects)
    return Corpus(content, np.stack([objects.render(scene) for scene in content]), texts)
