"""The demo's feature network for FID and KID: a small classifier whose pooled features are compared.

Letters: B pictures, C channels, H rows, W columns, D features.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from gillnext.miniatures.networks.folders import read_config
from gillnext.miniatures.networks.small_detector import block
from gillnext.runtime import files

ARCHITECTURE = "gillnext-features"
SIZE = 64  # pixels a side that it sees


class FeatureNetwork(nn.Module):
    """`forward` gives features (B, D) of 0–255 pictures of any size; usable as clean-fid's `custom_feat_extractor`."""

    description = "independent network by clean-fid; not Inception, not comparable with published FIDs"

    def __init__(self, classes: int, counts: int, width: int = 64) -> None:
        super().__init__()
        self.settings = {"classes": classes, "counts": counts, "width": width}
        self.trunk = nn.Sequential(
            block(3, width // 2, 2), block(width // 2, width, 2), block(width, width), block(width, width, 2),
            block(width, width),
        ).to(memory_format=torch.channels_last)  # fmt: skip
        self.cell = nn.Conv2d(width, classes + 1, 1)
        self.which = nn.Linear(width, classes)
        self.count = nn.Linear(width, counts)

    def grid(self, images_BCHW: Tensor) -> Tensor:
        """(B, 3, H, W) floats in 0–255 to feature maps (B, D, 8, 8); other sizes than 64×64 are resampled."""
        x_BCHW = images_BCHW.to(next(self.parameters()).dtype) / 127.5 - 1
        if x_BCHW.shape[-2:] != (SIZE, SIZE):
            x_BCHW = F.interpolate(x_BCHW, (SIZE, SIZE), mode="bilinear", antialias=True)
        return self.trunk(x_BCHW)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """(B, 3, H, W) floats in 0–255 to (B, D)."""
        return pooled(self.grid(images_BCHW))

    @torch.inference_mode()
    def features(self, images: np.ndarray, batch: int = 64) -> np.ndarray:
        """(N, H, W, 3) uint8 to (N, D) float32."""
        self.eval()
        device = next(self.parameters()).device
        parts = [torch.from_numpy(images[i : i + batch]).permute(0, 3, 1, 2) for i in range(0, len(images), batch)]
        return torch.cat([self(part.to(device).float()).cpu() for part in parts]).numpy()

    def save_pretrained(self, folder: Path | str) -> None:
        """Write config.json and model.safetensors into `folder`."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        files.write_json(folder / "config.json", {"architecture": ARCHITECTURE, **self.settings})
        save_file({k: v.cpu().contiguous() for k, v in self.state_dict().items()}, folder / "model.safetensors")

    @classmethod
    def from_pretrained(cls, folder: Path | str) -> Self:
        """Read a folder that `save_pretrained` wrote, frozen and in evaluation mode."""
        config = read_config(folder, ARCHITECTURE)
        model = cls(config["classes"], config["counts"], config["width"])
        model.load_state_dict(load_file(Path(folder) / "model.safetensors"))
        return model.eval().requires_grad_(False)


def pooled(grid_BDHW: Tensor) -> Tensor:
    """Half of the channels by their mean over the grid, half by their maximum: (B, D, 8, 8) to (B, D)."""
    mean_BDHW, most_BDHW = grid_BDHW.chunk(2, dim=1)
    return torch.cat([mean_BDHW.mean((2, 3)), most_BDHW.amax((2, 3))], 1)
