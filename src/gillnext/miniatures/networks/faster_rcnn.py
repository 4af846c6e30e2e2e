"""The demo's annotator: a small Faster R-CNN (Ren et al., 2015; two stages, with anchors), as torchvision has it.

Another family than the evaluator.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import MultiScaleRoIAlign

from gillnext.miniatures.networks.small_detector import SmallDetector, block

# Letters of shapes: R regions, C channels, P pooled rows and columns, F features.

ROI = 6  # rows and columns of a pooled region
FEATURES = 96  # width of the region head


class Backbone(nn.Sequential):
    """Five convolutions down to stride 4, so that regions are pooled from fine features."""

    def __init__(self, width: int) -> None:
        super().__init__(
            block(3, width // 2, 2), block(width // 2, width, 2), block(width, width), block(width, width),
            block(width, width),
        )  # fmt: skip
        self.out_channels = width


class RegionHead(nn.Module):
    """One convolution and one layer on pooled regions: R regions, C channels, P × P cells, to F features, (R, F)."""

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
