"""Eyes: the frozen visual encoder, of Chinese-CLIP's, CLIP's or SigLIP's class, by its own files.

A picture's features are what the encoder's vision tower pools, before it is projected to where texts lie: what GILL
takes of its CLIP.

Letters: N pictures, H W their sides, V width of the features.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from transformers import AutoConfig, AutoImageProcessor, AutoModel

from gillnext.runtime import contents
from gillnext.runtime.errors import UserError

KINDS = {"chinese_clip": "Chinese-CLIP", "clip": "CLIP", "siglip": "SigLIP"}  # by `model_type`: all have a vision tower


def read(picture: Path | np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 RGB, upright; `UserError` where the file is no picture."""
    if isinstance(picture, np.ndarray):
        return picture
    try:
        with Image.open(picture) as image:
            return np.array(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, Image.DecompressionBombError) as error:
        raise UserError(f"cannot read the picture: {error}", where=str(picture), remedy="give another file") from error


class Eyes:
    """A frozen vision tower with its image processor. `width` is V, `hash` the SHA-256 of the model's folder."""

    def __init__(self, tower: Any, processor: Any, width: int, hash: str) -> None:
        self.tower, self.processor, self.width, self.hash = tower, processor, width, hash

    @classmethod
    def load(cls, folder: Path | str, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Eyes:
        """The vision tower of the model in `folder`, safetensors alone; no code of the folder is run.

        `UserError` where it is of another class than `KINDS`, or cannot be loaded.
        """
        remedy = f"name the folder of a {', '.join(KINDS.values())} with safetensors and its image processor"
        try:
            kind = AutoConfig.from_pretrained(folder, local_files_only=True).model_type
            if kind not in KINDS:
                raise UserError(f"a {kind!r} is no visual encoder for GILL", where=str(folder), remedy=remedy)
            processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
            model = AutoModel.from_pretrained(folder, use_safetensors=True, local_files_only=True, dtype=dtype)
        except (OSError, ValueError) as error:
            raise UserError(f"cannot load the visual encoder: {error}", where=str(folder), remedy=remedy) from error
        tower = model.vision_model.to(device).eval().requires_grad_(False)
        return cls(tower, processor, model.config.vision_config.hidden_size, contents.sha256(folder))

    @property
    def dtype(self) -> torch.dtype:
        return next(self.tower.parameters()).dtype

    @torch.no_grad()
    def features(self, pictures: Sequence[Path | np.ndarray], batch: int = 64) -> Tensor:
        """Features (N, V), float32 on the CPU, of pictures: files, read as they are needed, or (H, W, 3) uint8."""
        like, found = next(self.tower.parameters()), [torch.zeros(0, self.width)]
        for i in range(0, len(pictures), batch):
            images = [read(picture) for picture in pictures[i : i + batch]]
            pixels = self.processor(images=images, return_tensors="pt")["pixel_values"].to(like)
            found.append(self.tower(pixels).pooler_output.float().cpu())
        return torch.cat(found)
