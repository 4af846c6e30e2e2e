"""The demo's box evaluator: a small FCOS (Tian et al., 2019), one stage and without anchors' sizes to choose."""

from __future__ import annotations

from torch import nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.fcos import FCOS, FCOSHead

from gillnext.miniatures.networks.small_detector import SmallDetector, block

STRIDE = 8  # pixels between the points that boxes are regressed from


class Backbone(nn.Sequential):
    """Six convolutions down to stride 8."""

    def __init__(self, width: int) -> None:
        super().__init__(
            block(3, width // 2, 2), block(width // 2, width, 2), block(width, width),
            block(width, width, 2), block(width, width), block(width, width),
        )  # fmt: skip
        self.out_channels = width


class Evaluator(SmallDetector):
    """FCOS on 64×64 pictures; `detect` gives boxes, class ids and scores."""

    architecture = "gillnext-fcos"
    description = "gillnext-fcos, trained on a stream of its own"

    def build(self, classes: int, size: int, width: int) -> nn.Module:
        anchors = AnchorGenerator(((STRIDE,),), ((1.0,),))
        return FCOS(
            Backbone(width), classes, min_size=size, max_size=size, image_mean=[0.5] * 3, image_std=[0.25] * 3,
            anchor_generator=anchors, head=FCOSHead(width, 1, classes, num_convs=2),
            score_thresh=0.05, nms_thresh=0.5, detections_per_img=12, _skip_resize=True,
        )  # fmt: skip
