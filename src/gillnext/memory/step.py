"""A step's work: its losses as functions of a micro-batch, what they train, and the ways to run backward over them.

`summed`, `split` and `accumulated` are `gill.backward`'s; `checkpointed` is `summed` with activations recomputed,
`single` the largest loss alone, and `full` that loss with the whole UNet trained.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from gillnext.gill.backward import Loss, step

ALONE = ("single", "full")


@dataclass(frozen=True)
class Work:
    """losses: by name. model: everything that they need. compared: parameters whose gradient the modes are compared by.

    sizes: numbers of parameters by name.
    """

    losses: dict[str, Loss]
    model: nn.Module
    compared: list[nn.Parameter]
    sizes: dict[str, int]
    batch: int

    @property
    def trained(self) -> list[nn.Parameter]:
        return [p for p in self.model.parameters() if p.requires_grad]

    @property
    def device(self) -> torch.device:
        return self.compared[0].device

    def clear(self) -> None:
        for p in self.trained:
            p.grad = None

    def gradient(self) -> np.ndarray:
        """The compared parameters' gradient, (P,) float64; 0 where none came."""
        parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.compared]
        return torch.cat([g.flatten() for g in parts]).double().cpu().numpy()


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """‖one − other‖ / ‖other‖."""
    return float(np.linalg.norm(one - other) / np.linalg.norm(other))


def additivity(work: Work, name: str) -> float:
    """How far the gradient of one loss over two halves of the batch is from the whole batch's, relative to it."""
    gradients = []
    for mode in ("accumulated", "summed"):
        work.clear()
        step([work.losses[name]], mode)
        gradients.append(work.gradient())
    work.clear()
    return difference(*gradients)
