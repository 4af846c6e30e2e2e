"""CLIP score: does the picture fit its caption? torchmetrics' CLIPScore with a Chinese-CLIP.

100 · max(mean over images of cos(image, caption), 0): Hessel et al., 2021, without their factor 2.5, and as
torchmetrics has it: the mean is cut off at 0, not each image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch

from gillnext.runtime import collector

Loader = Callable[[], tuple[Any, Any]]  # to (model, processor), as torchmetrics takes them


def clip_score(batches: Iterable[tuple[np.ndarray, list[str]]], load: Loader, device: str = "cpu") -> float:
    """Mean score of batches of images (B, H, W, 3) uint8 with their captions, in 0–100."""
    with collector.spared():
        from torchmetrics.multimodal.clip_score import CLIPScore

    metric = CLIPScore(model_name_or_path=load).to(device)
    with torch.no_grad():
        for images, captions in batches:
            pixels = torch.from_numpy(images).permute(0, 3, 1, 2).to(device)
            metric.update(list(pixels), captions)
        return float(metric.compute())
