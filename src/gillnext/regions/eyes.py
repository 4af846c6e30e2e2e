"""A self-supervised ViT as eyes: where its class token looks, what its patches are like, and anchors of both.

transformers' `ViTModel` (DINO's checkpoints) and `Dinov2Model` are read by class. Pictures are seen at the size that
the network was trained at, in [-1, 1] or by the processor's mean and deviation where the folder has one.

Letters: N pictures, H and W rows and columns of patches, D width, T tokens.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gillnext.instruments import families
from gillnext.runtime import files
from gillnext.runtime.errors import UserError

KNOWN = ("vit", "dinov2")
PROCESSOR = "preprocessor_config.json"
BATCH = 64


def smoothed(attention_HW: np.ndarray, side: int) -> np.ndarray:
    """Each patch's mean over a square of `side` patches (odd) about it, of what of that lies in the picture: the
    middle of an object, rather than its edge, is then its strongest place.
    """
    half, (rows, columns) = side // 2, attention_HW.shape
    sums = np.zeros((rows + 1, columns + 1))
    sums[1:, 1:] = attention_HW.astype(float).cumsum(0).cumsum(1)
    top, bottom = (np.clip(np.arange(rows) + shift, 0, rows) for shift in (-half, half + 1))
    left, right = (np.clip(np.arange(columns) + shift, 0, columns) for shift in (-half, half + 1))
    found = (
        sums[np.ix_(bottom, right)] - sums[np.ix_(top, right)] - sums[np.ix_(bottom, left)] + sums[np.ix_(top, left)]
    )
    return found / np.outer(bottom - top, right - left)


def spread(attention_HW: np.ndarray, count: int, apart: int) -> list[tuple[int, int]]:
    """The `count` strongest patches (row, column), the strongest first, none nearer to a stronger one than `apart`
    patches in both directions; nearer ones fill up where there are too few.
    """
    order = np.argsort(-attention_HW, axis=None, kind="stable")
    places = [(int(i) // attention_HW.shape[1], int(i) % attention_HW.shape[1]) for i in order]
    for gap in range(apart, -1, -1):
        chosen = list[tuple[int, int]]()
        for row, column in places:
            if all(max(abs(row - r), abs(column - c)) >= gap for r, c in chosen):
                chosen.append((row, column))
                if len(chosen) == count:
                    return chosen
    return places[:count]


class Eyes(nn.Module):
    """The frozen network. `size` pixels a side are seen, in patches of `patch`."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, network: Any, mean: list[float], deviation: list[float]) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.size, self.patch = int(network.config.image_size), int(network.config.patch_size)
        self.grid = self.size // self.patch  # patches a side
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("deviation", torch.tensor(deviation).view(1, -1, 1, 1))
        self._keys = list[Tensor]()
        last = [module for name, module in network.named_modules() if name.endswith(("k_proj", "attention.key"))][-1]
        last.register_forward_hook(lambda _, __, output: self._keys.append(output))

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> Eyes:
        """The network in `folder`; `UserError` where it is neither a ViTModel nor a Dinov2Model."""
        from transformers import Dinov2Model, ViTModel

        from gillnext.instruments.image_text import published

        class Unpooled:
            """A ViTModel without the layer that nothing here asks, and that DINO's checkpoints do not have."""

            @staticmethod
            def from_pretrained(folder: Path, **settings: Any) -> Any:
                return ViTModel.from_pretrained(folder, add_pooling_layer=False, **settings)

        if (named := families.model_type(folder)) not in KNOWN:
            remedy = f"name the folder of a {' or a '.join(KNOWN)} model of transformers"
            raise UserError(f"eyes of type {named!r}", where=str(folder), remedy=remedy)
        network = published(folder, {"vit": Unpooled, "dinov2": Dinov2Model}[named])
        network.set_attn_implementation("eager")  # the only one that tells its attention
        told = files.read_json(folder / PROCESSOR) if (folder / PROCESSOR).exists() else {}
        mean, deviation = told.get("image_mean", [0.5] * 3), told.get("image_std", [0.5] * 3)
        return cls(network, mean, deviation).to(device)

    def pixels(self, images_N3HW: Tensor) -> Tensor:
        """What the network is given of pictures (N, 3, h, w) in [0, 1]; differentiable."""
        if images_N3HW.shape[-2:] != (self.size, self.size):
            shape = (self.size, self.size)
            images_N3HW = F.interpolate(images_N3HW, shape, mode="bilinear", antialias=True, align_corners=False)
        return (images_N3HW - self.mean) / self.deviation

    def see(self, images_N3HW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of pictures (N, 3, h, w) in [0, 1]: the class token's attention to the patches, mean of the heads, (N, H, W);
        the patches' states (N, D, H, W); the last layer's keys (N, T, D).
        """
        self._keys.clear()
        output = self.network(self.pixels(images_N3HW), output_attentions=True)
        grid = (self.grid, self.grid)
        attention_NHW = output.attentions[-1].mean(1)[:, 0, 1:].unflatten(1, grid)
        states_NDHW = output.last_hidden_state[:, 1:].transpose(1, 2).unflatten(2, grid)
        return attention_NHW, states_NDHW, self._keys.pop()

    def keys(self, images_N3HW: Tensor) -> Tensor:
        """The last layer's keys (N, T, D); differentiable."""
        return self.see(images_N3HW)[2]

    @torch.no_grad()
    def attention(self, images: np.ndarray) -> np.ndarray:
        """(N, H, W) of pictures (N, h, w, 3) uint8."""
        parts = [self.see(as_pixels(images[i : i + BATCH]).to(self.mean))[0] for i in range(0, len(images), BATCH)]
        return torch.cat(parts).float().cpu().numpy()


def as_pixels(images: np.ndarray) -> Tensor:
    """(N, h, w, 3) uint8 to (N, 3, h, w) in [0, 1]."""
    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float() / 255
