"""The demo's annotator: a small Faster R-CNN behind the same interface as Qwen2-VL.

Ren et al. 2015, "Faster R-CNN" (two stages, with anchors), as torchvision implements it; another family than the
evaluator. It stands in for Qwen2-VL because a miniature of that is far from IoU 0.8 after minutes of training on a
CPU core (benchmarks/qwen2vl_annotator.py measures how far); the interface and every later stage are the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import MultiScaleRoIAlign

from gillnext.annotate.base import Found, Names
from gillnext.boxes import Convention
from gillnext.runtime.errors import UserError
from gillnext.score.detections import Detections
from gillnext.score.small_detector import SmallDetector, block

# Letters of shapes: R regions, C channels, P pooled rows and columns, F features.

ROI = 6  # rows and columns of a pooled region
FEATURES = 96  # width of the region head
CHUNK = 16  # images that go through the network together, whatever the stage's batch: shapes are constant


class Backbone(nn.Sequential):
    """Five convolutions down to stride 4, so that regions are pooled from fine features."""

    def __init__(self, width: int) -> None:
        super().__init__(
            block(3, width // 2, 2), block(width // 2, width, 2), block(width, width), block(width, width),
            block(width, width),
        )  # fmt: skip
        self.out_channels = width


class RegionHead(nn.Module):
    """One convolution and one layer on a pooled region, (R, C, P, P) to (R, F)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix = block(width, width, 2)
        self.project = nn.Linear(width * (ROI // 2) ** 2, FEATURES)

    def forward(self, regions_RCPP: Tensor) -> Tensor:
        return F.silu(self.project(self.mix(regions_RCPP).flatten(1)))


class AnnotatorNetwork(SmallDetector):
    """Faster R-CNN on 64×64 pictures; torchvision's label 0 is background."""

    architecture = "gillnext-faster-rcnn"
    first_label = 1

    def build(self, classes: int, size: int, width: int) -> nn.Module:
        anchors = AnchorGenerator(((18, 24, 30),), ((0.8, 1.25),))
        return FasterRCNN(
            Backbone(width), min_size=size, max_size=size, image_mean=[0.5] * 3, image_std=[0.25] * 3,
            rpn_anchor_generator=anchors, rpn_head=RPNHead(width, anchors.num_anchors_per_location()[0]),
            rpn_pre_nms_top_n_train=128, rpn_pre_nms_top_n_test=64, rpn_post_nms_top_n_train=24,
            rpn_post_nms_top_n_test=12, rpn_nms_thresh=0.7, rpn_fg_iou_thresh=0.6, rpn_bg_iou_thresh=0.3,
            rpn_batch_size_per_image=48, box_roi_pool=MultiScaleRoIAlign(["0"], ROI, 2), box_head=RegionHead(width),
            box_predictor=FastRCNNPredictor(FEATURES, classes + 1), box_score_thresh=0.05, box_nms_thresh=0.4,
            box_detections_per_img=12, box_batch_size_per_image=16, box_positive_fraction=0.5, _skip_resize=True,
        )  # fmt: skip


class DetectorAnnotator:
    """Looks up the names of a caption among a detector's classes.

    Its boxes are xyxy fractions of the image already (`Convention.UNIT`).
    """

    name = "detector"
    convention = Convention.UNIT
    needs_names = True
    max_image_size = 0

    def __init__(self, network: SmallDetector, threshold: float = 0.5) -> None:
        self.network, self.threshold = network, threshold

    def annotate(
        self, images: Sequence[Image.Image], captions: Sequence[str], names: Sequence[Names]
    ) -> list[list[Found]]:
        """For each name of each image the best detection of its class that reaches the threshold."""
        size = (self.network.size, self.network.size)
        small = np.stack([np.asarray(i if i.size == size else i.resize(size, Image.Resampling.BOX)) for i in images])
        detections = self.network.detect(small, CHUNK)
        answers = []
        for caption, wanted, found in zip(captions, names, detections, strict=True):
            if wanted is None:
                raise UserError(f"the detector needs the names to look for in {caption!r}", remedy="give a vocabulary")
            answers.append([self._look_up(name, found) for name in wanted])
        return answers

    def _look_up(self, name: str, found: Detections) -> Found:
        if name not in self.network.classes:
            return Found(name, None, 0.0, "a name that the detector does not know")
        best = found.best(self.network.classes.index(name), self.threshold)
        if best is None:
            return Found(name, None, 0.0, "object not in the image")
        x1, y1, x2, y2 = (float(v) for v in best[0])
        return Found(name, (x1, y1, x2, y2), best[1])
