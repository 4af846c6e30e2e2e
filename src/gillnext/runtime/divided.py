"""Tensors that processes hold a part each of (torch's DTensor): the part here, the whole, and a whole one divided.

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
    """The whole of `part`, which is divided or this process's part of what is divided as `like`.

    Every process takes part; the result is for reading, as it may be `part` itself.
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
    """A copy of the whole `value`, on the device, in the memory's order and divided as `like`; its own type."""
    if not divided(like):
        return torch.empty_like(like, dtype=value.dtype, device=value.device).copy_(value)
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(like, DTensor)
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)
