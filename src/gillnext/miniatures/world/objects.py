"""What a world is made of, as the setting `world.objects` says: the drawn classes, or a folder of cut-outs.

Whatever makes or judges scenes gets an `Objects`, and asks it for kinds, scenes and pictures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from gillnext.config.data import DRAWN_OBJECTS
from gillnext.config.model import Config
from gillnext.miniatures.world import cutouts, scenes
from gillnext.miniatures.world.classes import CLASSES
from gillnext.miniatures.world.kinds import Kind
from gillnext.miniatures.world.photographs import Photographs
from gillnext.miniatures.world.scenes import Box, Scene
from gillnext.runtime.errors import UserError

STEP = 32  # pixels: windows of half a picture's side go through autoencoder and UNet, which halve it four times


@dataclass(frozen=True)
class Objects:
    """The kinds of objects, in the order of their class ids; `size`, pixels a side of pictures; and what makes scenes.

    `sample(seed, stream, index)` is scene `index` of a stream; `draw(scene, size)` its picture, (size, size, 3) uint8;
    `boxes(rng, count)` gives boxes of the same prior, xyxy in [0, 1], fewer where there is no room.
    """

    kinds: tuple[Kind, ...]
    size: int
    sample: Callable[[int, str, int], Scene]
    draw: Callable[[Scene, int], np.ndarray]
    boxes: Callable[[np.random.Generator, int], list[Box]]

    @classmethod
    def drawn(cls, size: int = scenes.SIZE) -> Objects:
        """The drawn world's."""
        return cls(CLASSES, size, scenes.sample, scenes.render, scenes.sample_boxes)

    @classmethod
    def cutouts(cls, folder: Path | str, size: int = scenes.SIZE) -> Objects:
        """Those of a folder with `objects.csv`; `UserError` where it is not as `cutouts.py` says."""
        made = Photographs(cutouts.read(folder))
        return cls(made.kinds, size, made.sample, made.render, made.boxes)

    @cached_property
    def names(self) -> list[str]:
        """The nouns, by class id."""
        return [kind.name for kind in self.kinds]

    @cached_property
    def ids(self) -> dict[str, int]:
        """Noun -> class id."""
        return {kind.name: kind.id for kind in self.kinds}

    def render(self, scene: Scene) -> np.ndarray:
        """The picture of a scene, (size, size, 3) uint8 RGB."""
        return self.draw(scene, self.size)


def of(config: Config) -> Objects:
    """The objects that the settings name; `UserError` where they name none."""
    named, size = config.world.objects, config.world.size
    if size < STEP or size % STEP:
        raise UserError(f"{size} pixels", where="world.size", remedy=f"a multiple of {STEP}")
    return Objects.drawn(size) if named == DRAWN_OBJECTS else Objects.cutouts(named, size)


DRAWN = Objects.drawn()
