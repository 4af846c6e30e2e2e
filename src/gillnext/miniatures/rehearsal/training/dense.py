"""Dense training of detectors: each place in the middle of an object says its name and its box.

Letters: B pictures, P places, K objects of a picture at most, T tokens or names, 4 of a box, 2 of a point.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import box_convert, generalized_box_iou_loss, sigmoid_focal_loss

MIDDLE = 0.5  # share of an object's width and height whose places answer for it
REACH = 1 / 16  # of the picture: at least so far from an object's centre


def grid(width: int, height: int) -> Tensor:
    """Centres (P, 2) of the cells of a grid, row by row, fractions of the picture."""
    y, x = torch.meshgrid((torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij")
    return torch.stack([x, y], -1).reshape(-1, 2)


def stacked(boxes: Sequence[np.ndarray]) -> Tensor:
    """Boxes (B, K, 4) of pictures with different numbers of them; what is missing lies outside every picture."""
    out = torch.full((len(boxes), max(map(len, boxes)), 4), -9.0)
    for row, one in zip(out, boxes, strict=True):
        row[: len(one)] = torch.from_numpy(one)
    return out


def places(names: Sequence[Sequence[str]], orders: Sequence[Sequence[str]]) -> Tensor:
    """The places (B, K) of the names of pictures, each in an order of its own; 0 for what is missing."""
    out = torch.zeros(len(names), max(map(len, names)), dtype=torch.long)
    for row, one, order in zip(out, names, orders, strict=True):
        row[: len(one)] = torch.tensor([order.index(name) for name in one])
    return out


def loss(logits_BPT: Tensor, boxes_BP4: Tensor, places_BP2: Tensor, truth_BK4: Tensor, words_BK: Tensor) -> Tensor:
    """Focal loss of the names (Lin et al. 2017), L1 and generalised IoU of the boxes, with DETR's weights.

    Predicted boxes are centre and size, true ones xyxy; `words_BK` is which of the T tokens names an object. Tokens
    whose logit is -inf are no part of a picture's text.
    """
    middle, half = (truth_BK4[..., :2] + truth_BK4[..., 2:]) / 2, (truth_BK4[..., 2:] - truth_BK4[..., :2]) / 2
    away_BPK2 = (places_BP2[:, :, None] - middle[:, None]).abs()
    b, p, k = (away_BPK2 <= (half * MIDDLE).clamp(min=REACH)[:, None] + 1e-6).all(-1).nonzero(as_tuple=True)
    wanted_BPT = torch.zeros_like(logits_BPT)
    wanted_BPT[b, p, words_BK[b, k]] = 1
    said = logits_BPT > -math.inf
    named = sigmoid_focal_loss(logits_BPT[said], wanted_BPT[said], reduction="sum") / max(len(b), 1)
    if not len(b):
        return named
    return named + fit(boxes_BP4[b, p], truth_BK4[b, k])


def fit(boxes_P4: Tensor, truth_P4: Tensor) -> Tensor:
    """L1 and generalised IoU of boxes (centre and size) against true ones (xyxy), with DETR's weights."""
    seen_P4 = box_convert(boxes_P4, "cxcywh", "xyxy")
    return 5 * F.l1_loss(seen_P4, truth_P4) + 2 * generalized_box_iou_loss(seen_P4, truth_P4, reduction="mean")
