"""What the small detectors share: a torchvision detector on small pictures as a `from_pretrained` folder.

A folder is config.json (class names, sizes, widths) and model.safetensors. Subclasses build the network.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from gillnext.instruments.detections import Detections
from gillnext.miniatures.networks.folders import read_config
from gillnext.runtime import files

# Letters of shapes: N images, B batch, C channels, H rows, W columns.

SMALLEST = 1e-4  # a detected box is at least this wide and high, fractions of the image


def block(inside: int, outside: int, stride: int = 1) -> nn.Sequential:
    """Convolution, group norm, SiLU."""
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, stride, 1, bias=False), nn.GroupNorm(8, outside), nn.SiLU(inplace=True)
    )


class SmallDetector(nn.Module, ABC):
    """A torchvision detector behind `detect`, `save_pretrained` and `from_pretrained`."""

    architecture: ClassVar[str]
    description: ClassVar[str] = ""

    def __init__(self, classes: list[str], size: int, width: int) -> None:
        super().__init__()
        self.settings = {"classes": list(classes), "size": size, "width": width}
        self.classes, self.size = list(classes), size
        self.network = self.build(len(classes), size, width).to(memory_format=torch.channels_last)

    @abstractmethod
    def build(self, classes: int, size: int, width: int) -> nn.Module:
        """The torchvision model; its labels are class id + `first_label`."""

    first_label: ClassVar[int] = 0

    def losses(self, images_BCHW: Tensor, boxes: list[np.ndarray], labels: list[list[int]]) -> Tensor:
        """The training loss; `boxes` are xyxy in [0, 1], `labels` class ids."""
        device = images_BCHW.device
        targets = [
            {
                "boxes": torch.as_tensor(b * self.size, dtype=torch.float32, device=device),
                "labels": torch.tensor(k, dtype=torch.int64, device=device) + self.first_label,
            }
            for b, k in zip(boxes, labels, strict=True)
        ]
        return torch.stack(list(self.network(list(images_BCHW), targets).values())).sum()

    @torch.inference_mode()
    def detect(self, images: np.ndarray, batch: int = 32) -> list[Detections]:
        """Detections of (N, H, W, 3) uint8 images of one size; the last batch is filled up: constant shapes."""
        self.eval()
        device = next(self.parameters()).device
        found: list[Detections] = []
        for start in range(0, len(images), batch):
            part = images[start : start + batch]
            full = np.concatenate([part, np.zeros((batch - len(part), *part.shape[1:]), np.uint8)])
            pixels_BCHW = torch.from_numpy(full).to(device).permute(0, 3, 1, 2).float() / 255
            if pixels_BCHW.shape[-2:] != (self.size, self.size):
                pixels_BCHW = F.interpolate(
                    pixels_BCHW, (self.size, self.size), mode="bilinear", antialias=True, align_corners=False
                )
            answers = self.network(list(pixels_BCHW))
            found += [self._read(answer) for answer in answers[: len(part)]]
        return found

    def _read(self, answer: dict[str, Tensor]) -> Detections:
        boxes = answer["boxes"].double().cpu().numpy().reshape(-1, 4) / self.size
        whole = (boxes[:, 2:] - boxes[:, :2] > SMALLEST).all(1)
        labels = answer["labels"].cpu().numpy().astype(np.int64) - self.first_label
        scores = answer["scores"].double().cpu().numpy()
        order = np.argsort(-scores[whole], kind="stable")
        return Detections(boxes[whole][order].clip(0, 1), labels[whole][order], scores[whole][order])

    def save_pretrained(self, folder: Path | str) -> None:
        """Write config.json and model.safetensors into `folder`."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        files.write_json(folder / "config.json", {"architecture": self.architecture, **self.settings})
        save_file({k: v.cpu().contiguous() for k, v in self.state_dict().items()}, folder / "model.safetensors")

    @classmethod
    def from_pretrained(cls, folder: Path | str) -> Self:
        """Read a folder that `save_pretrained` wrote; raises `UserError` where it is missing or another model's."""
        config = read_config(folder, cls.architecture)
        model = cls(config["classes"], config["size"], config["width"])
        model.load_state_dict(load_file(Path(folder) / "model.safetensors"))
        return model.eval()
