"""What stands where, as a map of classes: an auxiliary target of the demo's UNet, in training only.

A noisy picture's loss hardly depends on which object the caption names: a cat and a fish of one colour differ in a few
cells. So the UNet's features also learn to tell each cell's class, through a linear head that is thrown away
afterwards, as in representation alignment (Yu et al., 2025, arXiv:2410.06940) with the scene's own truth in place of a
pretrained encoder. Pretrained bases have had enough pictures without it.

Letters: B batch, K channels, H and W cells.
"""

from __future__ import annotations

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional as F

from gillnext.miniatures.world.classes import CLASSES
from gillnext.miniatures.world.scenes import Scene

REACH = 1.1  # an object's cells: its box's ellipse, a tenth larger in area


def class_map(scene: Scene, cells: int) -> Tensor:
    """(cells, cells) int64: 1 + the class of the object on a cell, the last painted one's; 0 for the background.

    An object's cells are those of its box's ellipse (`supervision.box_class_maps`: those of its box).
    """
    found = np.zeros((cells, cells), np.int64)
    centres = (np.arange(cells) + 0.5) / cells
    for thing in scene.objects:
        x1, y1, x2, y2 = thing.box
        x = (2 * centres[None, :] - x1 - x2) / (x2 - x1)
        y = (2 * centres[:, None] - y1 - y2) / (y2 - y1)
        found[x**2 + y**2 <= REACH] = thing.kind.id + 1
    return torch.from_numpy(found)


class ClassMapHead(nn.Module):
    """A linear map from the features that enter the UNet's last up block to class logits, a cell at a time.

    Not a part of the UNet: it listens to the block before by a hook, until `release`.
    """

    def __init__(self, unet: UNet2DConditionModel, kinds: int = len(CLASSES)) -> None:
        super().__init__()
        self.logits = nn.Conv2d(unet.config.block_out_channels[1], kinds + 1, 1)
        self.release = unet.up_blocks[-2].register_forward_hook(self._listen).remove

    def _listen(self, block: nn.Module, inputs: tuple, features_BKHW: Tensor) -> None:
        self.features_BKHW = features_BKHW

    def loss(self, maps_BHW: Tensor) -> Tensor:
        """Cross-entropy of the last forward's features against the class maps, a mean over cells."""
        return F.cross_entropy(self.logits(self.features_BKHW), maps_BHW)
