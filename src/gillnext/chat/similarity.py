"""How well pictures and texts fit, by the image-text scorer: unit embeddings of a Chinese-CLIP.

Letters: N pictures or texts, E width of the embeddings.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from gillnext.instruments.image_text import describe, for_torchmetrics
from gillnext.score.images import BATCH, read_image
from gillnext.score.models import weights


class ImageText:
    """The Chinese-CLIP in a folder. `description` tells what it is, `hash` is the digest of its weights."""

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        loaded: Any = for_torchmetrics(folder)
        self.model, self.processor = loaded
        self.model.to(device)
        self.device, self.description, self.hash = device, describe(folder), weights(folder)
        self.tokenizer = self.processor.tokenizer
        self.most = min(self.tokenizer.model_max_length, self.model.config.text_config.max_position_embeddings)

    @torch.no_grad()
    def pictures(self, pictures: Sequence[Path | np.ndarray]) -> np.ndarray:
        """(N, E) float64 of length 1, of files or of (H, W, 3) uint8."""
        parts = [np.zeros((0, self.model.config.projection_dim))]
        for i in range(0, len(pictures), BATCH):
            images = [np.array(p if isinstance(p, np.ndarray) else read_image(p)) for p in pictures[i : i + BATCH]]
            pixels = self.processor(images=images, return_tensors="pt")["pixel_values"].to(self.device)
            features = self.model.get_image_features(pixel_values=pixels)
            parts.append(F.normalize(features.double(), dim=-1).cpu().numpy())
        return np.concatenate(parts)

    @torch.no_grad()
    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """(N, E) float64 of length 1, of texts as far as the model reads them."""
        parts = [np.zeros((0, self.model.config.projection_dim))]
        for i in range(0, len(texts), BATCH):
            read = self.processor(
                text=list(texts[i : i + BATCH]), padding=True, truncation=True, max_length=self.most,
                return_tensors="pt",
            )  # fmt: skip
            features = self.model.get_text_features(**{name: part.to(self.device) for name, part in read.items()})
            parts.append(F.normalize(features.double(), dim=-1).cpu().numpy())
        return np.concatenate(parts)

    def too_long(self, texts: Sequence[str]) -> int:
        """How many texts are longer than what the model reads."""
        return sum(len(self.tokenizer(text, verbose=False).input_ids) > self.most for text in texts)
