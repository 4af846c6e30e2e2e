"""Eyes: the frozen visual encoder, of Chinese-CLIP's, CLIP's or SigLIP's class, by its own files.

A picture's features are what the encoder's vision tower pools, before it is projected to where texts lie: what GILL
takes of its CLIP. Or they are the states of its patches, on a grid of at most 8 × 8 cells.

Letters: N pictures, H W their sides, V width of the features, G cells of the grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from einops import rearrange
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoConfig, AutoImageProcessor, AutoModel

from gillnext.runtime import contents
from gillnext.runtime.errors import UserError

GRID = 8  # cells a side, at most
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


def on_grid(patches_NLV: Tensor, side: int) -> Tensor:
    """States of side × side patches as those of cells (N, G, V), means of the patches in them."""
    patches_NVHW = rearrange(patches_NLV, "n (h w) v -> n v h w", h=side)
    return rearrange(F.adaptive_avg_pool2d(patches_NVHW, min(GRID, side)), "n v h w -> n (h w) v")


class Eyes:
    """A frozen vision tower with its image processor. `width` is V, `hash` the SHA-256 of the model's folder; `cells`
    is G, or 0 where features are pooled.
    """

    def __init__(self, tower: Any, processor: Any, config: Any, hash: str, features: str) -> None:
        self.tower, self.processor, self.hash = tower, processor, hash
        self.width, self.side = config.hidden_size, config.image_size // config.patch_size
        self.cells = min(GRID, self.side) ** 2 if features == "grid" else 0

    @classmethod
    def load(
        cls,
        folder: Path | str,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        features: Literal["pooled", "grid"] = "pooled",
    ) -> Eyes:
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
        return cls(tower, processor, model.config.vision_config, contents.sha256(folder), features)

    @property
    def dtype(self) -> torch.dtype:
        return next(self.tower.parameters()).dtype

    @torch.no_grad()
    def features(self, pictures: Sequence[Path | np.ndarray], batch: int = 64) -> Tensor:
        """Features (N, V), or (N, G, V), float32 on the CPU, of pictures: files, read as they are needed, or (H, W, 3)
        uint8.
        """
        like, shape = next(self.tower.parameters()), [self.cells, self.width] if self.cells else [self.width]
        found = [torch.zeros(0, *shape)]
        for i in range(0, len(pictures), batch):
            images = [read(picture) for picture in pictures[i : i + batch]]
            pixels = self.processor(images=images, return_tensors="pt")["pixel_values"].to(like)
            seen = self.tower(pixels)
            patches = seen.last_hidden_state[:, -(self.side**2) :]  # after the class token, which SigLIP has not
            found.append((on_grid(patches, self.side) if self.cells else seen.pooler_output).float().cpu())
        return torch.cat(found)
