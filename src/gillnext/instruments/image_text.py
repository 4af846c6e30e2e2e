"""The image-text model: a Chinese-CLIP (Yang et al., 2022) in the form in which torchmetrics takes one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import ChineseCLIPModel, ChineseCLIPProcessor


def pooled(output: Any) -> Tensor:
    """The projected embedding in what `get_*_features` returns: a tensor, or an output object that holds it."""
    return output if isinstance(output, Tensor) else output.pooler_output


class PooledChineseCLIP(ChineseCLIPModel):
    """A ChineseCLIPModel whose `get_*_features` return the embedding itself, as torchmetrics' CLIPScore expects."""

    def get_image_features(self, *args: Any, **kwargs: Any) -> Tensor:
        return pooled(super().get_image_features(*args, **kwargs))

    def get_text_features(self, *args: Any, **kwargs: Any) -> Tensor:
        return pooled(super().get_text_features(*args, **kwargs))


def for_torchmetrics(folder: Path | str) -> tuple[PooledChineseCLIP, ChineseCLIPProcessor]:
    """Model and processor for `CLIPScore(model_name_or_path=lambda: for_torchmetrics(folder))`."""
    model = PooledChineseCLIP.from_pretrained(folder).eval().requires_grad_(False)
    return model, ChineseCLIPProcessor.from_pretrained(folder)
