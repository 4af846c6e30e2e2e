"""What edited pictures are scored by, as functions of pictures and detections.

Letters: N pictures, H and W pixels, S seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from gillnext import boxes as geometry
from gillnext.instruments.detections import Detections
from gillnext.layouts import Box
from gillnext.regions import masks
from gillnext.statistics import resamples

PEAK = 255.0
NEAR = 0.35  # sum of a colour's three differences up to which a pixel has it


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes."""
    return float(geometry.iou(np.array([a]), np.array([b]))[0, 0])


def area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def best_iou(found: Detections, label: int, box: Box, confident: float) -> float:
    """The largest IoU with `box` of a detection of the class `label` that is sure enough; 0 without one."""
    kept = (found.labels == label) & (found.scores >= confident)
    return float(geometry.iou(found.boxes[kept], np.array([box])).max()) if kept.any() else 0.0


def squared_error(source: np.ndarray, edited: np.ndarray, box: Box) -> tuple[float, float]:
    """The sum of squared differences of all values outside a box, and how many these are."""
    outside = masks.mask(box, source.shape[:2]) == 0
    apart = source[outside].astype(float) - edited[outside]
    return float((apart**2).sum()), float(apart.size)


def psnr(mean_square: float | np.ndarray) -> Any:
    """Peak signal-to-noise ratio, dB, of a mean squared error of 8-bit values; infinite of 0."""
    with np.errstate(divide="ignore"):
        return 10 * np.log10(PEAK**2 / np.asarray(mean_square, float))


def has_colour(picture: np.ndarray, box: Box, before: Sequence[float], after: Sequence[float]) -> bool:
    """Whether more pixels of a box have the colour `after` (RGB in [0, 1]) than `before`."""
    x1, y1, x2, y2 = masks.pixels(box, picture.shape[:2])
    pixels = picture[y1:y2, x1:x2] / PEAK
    old, new = (np.abs(pixels - np.asarray(colour)).sum(-1) for colour in (before, after))
    return bool(((new < NEAR) & (new < old)).sum() > ((old < NEAR) & (old < new)).sum())


@torch.no_grad()
def feature_distance(network: Any, first: np.ndarray, second: np.ndarray, batch: int = 64) -> np.ndarray:
    """(N,) the mean squared distance of unit feature vectors, place by place (LPIPS without its learned weights, Zhang
    et al., 2018), of pictures (N, H, W, 3) uint8; of a network without a `grid` of its pooled features.
    """
    look, found = getattr(network, "grid", network), []
    device = next(network.parameters()).device
    for start in range(0, len(first), batch):
        parts = [torch.from_numpy(some[start : start + batch]).permute(0, 3, 1, 2).float() for some in (first, second)]
        pair = [F.normalize(look(part.to(device)), dim=1) for part in parts]
        apart = (pair[0] - pair[1]).square().sum(1)
        found.append(apart.reshape(len(apart), -1).mean(1).cpu().numpy())
    return np.concatenate(found)


def ratio(rights_SN: np.ndarray, of_N: np.ndarray) -> dict[str, Any]:
    """The mean over seeds of sum / count, and its 95% interval: a bootstrap over pictures of all seeds together."""
    right_N = np.asarray(rights_SN, float).mean(0)
    if not of_N.sum():
        return {"value": None, "interval": None}
    weights = resamples(len(of_N), "regions")
    with np.errstate(invalid="ignore", divide="ignore"):
        means = (weights @ right_N) / (weights @ of_N)
    ends = np.nanquantile(means, [0.025, 0.975])
    return {"value": round(float(right_N.sum() / of_N.sum()), 6), "interval": [round(float(e), 6) for e in ends]}


def difference(first_SN: np.ndarray, second_SN: np.ndarray, of_N: np.ndarray) -> dict[str, Any]:
    """The paired difference of two such means, over the same resamples."""
    return ratio(first_SN.mean(0, keepdims=True) - second_SN.mean(0, keepdims=True), of_N)
