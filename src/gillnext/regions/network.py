"""The region network: it scores every candidate box of an anchor by what the eyes see in it, and chooses one.

Letters: A anchors, K windows of each, D width of the eyes' states, R width of a box's features.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import roi_align

from gillnext.layouts import Box
from gillnext.runtime import seeds

CELLS = 2  # rows and columns of a box's features


def features(states_DHW: Tensor, boxes: Sequence[Sequence[Box]]) -> Tensor:
    """(A, K, R) of candidate boxes: RoI features (He et al., 2017) of the eyes' states, less the mean of the picture,
    and the box's place and size.
    """
    flat = torch.tensor([box for own in boxes for box in own], dtype=states_DHW.dtype, device=states_DHW.device)
    grid = states_DHW.shape[-1]
    centred = (states_DHW - states_DHW.mean((1, 2), keepdim=True))[None]
    found = roi_align(centred, [flat * grid], CELLS, sampling_ratio=2, aligned=True).flatten(1)  # (A·K, D·4)
    scaled = F.layer_norm(found, found.shape[1:])
    return torch.cat([scaled, 4 * flat - 2], 1).unflatten(0, (len(boxes), len(boxes[0])))


class RegionNetwork(nn.Module):
    """Two layers; `forward` gives a score (A, K) a candidate of features (A, K, R)."""

    def __init__(self, width_in: int, width: int, *names: str | int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(width_in, width), nn.Linear(width, 1)
        generator = seeds.torch_generator("region-network", *names)
        with torch.no_grad():
            for layer in (self.first, self.second):
                bound = layer.in_features**-0.5
                for parameter in layer.parameters():
                    values = torch.rand(parameter.shape, generator=generator)
                    parameter.copy_((2 * values - 1) * bound)

    def forward(self, features_AKR: Tensor) -> Tensor:
        return self.second(F.gelu(self.first(features_AKR)))[..., 0]


def choose(scores_AK: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    """(A, K) one window an anchor: a hard Gumbel choice, 1 or 0, whose gradient is that of the softmax (Jang, Gu &
    Poole, 2017).
    """
    uniform = torch.rand(scores_AK.shape, generator=generator).clamp(1e-9, 1 - 1e-7).to(scores_AK)
    soft_AK = ((scores_AK - (-uniform.log()).log()) / temperature).softmax(-1)
    hard_AK = F.one_hot(soft_AK.argmax(-1), scores_AK.shape[-1]).to(soft_AK)
    return hard_AK + soft_AK - soft_AK.detach()


def compose(weights_AK: Tensor, pictures_AK3HW: Tensor) -> Tensor:
    """(A, 3, H, W): each anchor's candidate pictures, weighed. Of a hard choice that is one of them to the bit, and the
    gradient reaches the score of every candidate.
    """
    hard = weights_AK.argmax(-1)
    chosen = pictures_AK3HW[torch.arange(len(hard)), hard]
    zero_AK = weights_AK - weights_AK.detach()
    return chosen + torch.einsum("ak,akchw->achw", zero_AK, pictures_AK3HW)
