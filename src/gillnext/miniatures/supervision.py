"""Training targets from the truth of a labelled corpus, shared by the small networks."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gillnext.miniatures.world.corpus import Corpus


def split(whole: Corpus, count: int) -> tuple[Corpus, Corpus]:
    """The first `count` scenes of a corpus, and the rest."""
    first = Corpus(whole.scenes[:count], whole.images[:count], whole.captions[:count])
    return first, Corpus(whole.scenes[count:], whole.images[count:], whole.captions[count:])


def box_class_maps(data: Corpus, cells: int) -> Tensor:
    """Class maps of scenes by their boxes, (N, cells, cells) int64: 1 + the class of the last painted object whose box
    holds a cell's centre, 0 for the background. The base learns maps of ellipses instead (`class_map.class_map`).
    """
    centre = (np.arange(cells) + 0.5) / cells
    labels = torch.zeros(len(data.scenes), cells, cells, dtype=torch.int64)
    for grid, scene in zip(labels, data.scenes, strict=True):
        for thing in scene.objects:
            x1, y1, x2, y2 = thing.box
            inside = ((centre > y1) & (centre < y2))[:, None] & ((centre > x1) & (centre < x2))[None]
            grid[torch.from_numpy(inside)] = thing.kind.id + 1
    return labels
