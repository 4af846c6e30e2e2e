"""Tensors that are divided among processes (torch's DTensor): the part of this process, the whole, and back again.

A plain tensor is its own part and its own whole.
"""

from __future__ import annotations

import torch
from torch import Tensor


def divided(tensor: Tensor) -> bool:
    return hasattr(tensor, "to_local")  # a DTensor, whose module takes long to import


def local(tensor: Tensor) -> Tensor:
    """This process's part, which shares its memory."""
    return tensor.to_local() if divided(tensor) else tensor  # type: ignore[attr-defined]


def whole(part: Tensor, like: Tensor) -> Tensor:
    """The whole tensor of `part`: a divided tensor, or this process's part of one that is divided as `like` is.

    Every process has to call it. The result is for reading: it may be `part` itself.
    """
    if not divided(like):
        return part
    from torch.distributed.tensor import DTensor

    if not isinstance(part, DTensor):
        assert isinstance(like, DTensor)
        part = DTensor.from_local(
            part.to(like.device), like.device_mesh, like.placements, shape=like.shape, stride=like.stride()
        )
    return part.full_tensor()


def as_(value: Tensor, like: Tensor) -> Tensor:
    """A copy of the whole `value` in its own type, with the device, the order in memory and the division of `like`."""
    if not divided(like):
        return torch.empty_like(like, dtype=value.dtype, device=value.device).copy_(value)
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(like, DTensor)
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)
