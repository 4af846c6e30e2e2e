"""The feature network of FID and KID, from its folder or file alone, and how it takes pictures of any size.

| what is there | network | one resize for all pictures |
|---|---|---|
| `inception-2015-12-05.pt`, or its folder | Inception of the published FIDs, by clean-fid | clean-fid's, 299×299 |
| config.json of `CLIPModel`, `ChineseCLIPModel` | image embedding; CMMD is of the same | its processor's |
| config.json of `Dinov2Model` | class token | its processor's |
| the demo's | its own small network | within it, to 64×64 |

Inception is published as TorchScript, which is code: it is run only where its SHA-256 is the known one, and never
downloaded. (The value is that of NVIDIA's file, as k-diffusion and others pin it; 95,607,719 bytes.)

Letters: B pictures, C channels, H rows, W columns, D features.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor, nn

from gillnext.instruments import families
from gillnext.runtime import files
from gillnext.runtime.errors import UserError

INCEPTION_SHA256 = "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4"
Prepare = Callable[[np.ndarray], np.ndarray]  # (H, W, 3) uint8 to (h, w, 3) float32, the network's own size and scale


class Prepared(nn.Module):
    """A feature network of published weights: `prepare` brings one picture to its size, `forward` takes batches of
    these, (B, 3, h, w), to features (B, D). `embedding`: whether CMMD is of these features.
    """

    description: str
    embedding = False
    prepare: Prepare


class Inception(Prepared):
    """Inception v3 of the published FIDs (Heusel et al., 2017) behind clean-fid's wrapper (Parmar et al., 2022)."""

    def __init__(self, path: Path) -> None:
        from cleanfid.inception_torchscript import InceptionV3W
        from cleanfid.resize import build_resizer

        super().__init__()
        self.network, self.prepare = InceptionV3W(str(path.parent), download=False), build_resizer("clean")
        self.description = (
            f"Inception v3 ({families.INCEPTION}) by clean-fid, its resize; comparable with FIDs of as many pictures"
        )

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        return self.network(pixels_BCHW)


class Pretrained(Prepared):
    """What transformers' processor makes of a picture, and a network that gives features of it."""

    def __init__(self, network: Any, processor: Any, description: str, embedding: bool) -> None:
        super().__init__()
        self.network, self.processor = network, processor
        self.description, self.embedding = description, embedding

    def prepare(self, image: np.ndarray) -> np.ndarray:  # type: ignore[override]
        pixels = self.processor(images=[Image.fromarray(image)], return_tensors="np")["pixel_values"][0]
        return np.ascontiguousarray(np.asarray(pixels, dtype=np.float32).transpose(1, 2, 0))

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        if self.embedding:
            from gillnext.instruments.image_text import pooled

            return pooled(self.network.get_image_features(pixel_values=pixels_BCHW))
        return self.network(pixel_values=pixels_BCHW).last_hidden_state[:, 0]


def _inception(path: Path) -> Inception:
    if (found := files.sha256(path)) != INCEPTION_SHA256:
        raise UserError(
            f"is not the published Inception: SHA-256 {found}, expected {INCEPTION_SHA256}", where=str(path),
            remedy="fetch inception-2015-12-05.pt anew; TorchScript is code, so that no other file is run",
        )  # fmt: skip
    return Inception(path)


def _pretrained(folder: Path, named: str) -> Pretrained:
    from transformers import AutoImageProcessor, AutoModel

    from gillnext.instruments.image_text import published

    network, processor = published(folder, AutoModel), published(folder, AutoImageProcessor, weights=False)
    vision = getattr(network.config, "vision_config", network.config)
    title = {"clip": "CLIP", "chinese_clip": "Chinese-CLIP"}.get(named, "DINOv2")
    what = "image embedding" if named in EMBEDDINGS else "class token"
    size = f"width {vision.hidden_size}, {vision.num_hidden_layers} layers, patches of {vision.patch_size}"
    description = f"{what} of {title} ({size}) by clean-fid, its processor's resize; not Inception"
    return Pretrained(network.eval().requires_grad_(False), processor, description, named in EMBEDDINGS)


EMBEDDINGS = ("clip", "chinese_clip")
PRETRAINED = (*EMBEDDINGS, "dinov2")


def inception_file(path: Path) -> Path | None:
    """Inception's file in a folder, or `path` itself where it is one; None where there is none."""
    return next((file for file in (path, path / families.INCEPTION) if file.is_file()), None)


def load(folder: Path, device: str = "cpu") -> Any:
    """The feature network in `folder`: (B, 3, H, W) floats to (B, D), with a `description`. Where it has `prepare`,
    pictures go through that first; the demo's takes floats in 0–255 of any size.

    Raises `UserError` where the folder holds no network that is known here.
    """
    from gillnext.miniatures.networks.features import FeatureNetwork

    if file := inception_file(folder):
        if file.name != families.INCEPTION:
            remedy = f"name {families.INCEPTION}, or a folder that holds it or a config.json"
            raise UserError("no feature network is a file of this name", where=str(file), remedy=remedy)
        return _inception(file).eval().to(device)
    if (folder / "config.json").exists() and (named := families.model_type(folder)) in PRETRAINED:
        return _pretrained(folder, named).to(device)
    return FeatureNetwork.from_pretrained(folder).to(device)
