"""Gradients, optimiser states and weights of a trained UNet, divided among processes by torch's own `fully_shard`.

Each process keeps a part of every weight, of its moments and average. A module's weights are gathered for its forward
and stay until its backward has ended; its gradients are then summed over the processes and each keeps its part: the
communication of ZeRO-2 (Rajbhandari et al., 2020, section 5), with less held between the steps.
"""

from __future__ import annotations

import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.resnet import ResnetBlock2D
from torch import nn

from gillnext.runtime.errors import UserError

UNITS = (BasicTransformerBlock, ResnetBlock2D)  # whose gradients are divided at once


def shard(model: nn.Module, device: str, processes: int) -> None:
    """Divide all parameters of `model` among the processes, in place: they are others afterwards (DTensor).

    Raises `UserError` where a parameter has no dimension to divide.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    for name, parameter in model.named_parameters():
        if not parameter.dim():
            remedy = "sharding: none, or an arm of another site (the gated one has such gates)"
            raise UserError(f"{name} is one number, which cannot be divided", where="adapter.sharding", remedy=remedy)
    model.to(memory_format=torch.contiguous_format)  # others are refused
    mesh = init_device_mesh(device, (processes,))
    for module in [m for m in model.modules() if isinstance(m, UNITS)]:
        fully_shard(module, mesh=mesh, reshard_after_forward=False)
    fully_shard(model, mesh=mesh, reshard_after_forward=False)
