"""What an adapter's step holds in memory, counted without computing it: tensors that have shapes and no numbers.

At Kolors' (SDXL's) size and batch 1, in bytes by part:

    python -m gillnext.memory.adapter_step
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterable
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks

from gillnext.adapter.objective import Denoiser
from gillnext.adapter.trainer import build_adapter, recompute
from gillnext.config.model import Arm, Config
from gillnext.memory import kolors
from gillnext.memory.live_bytes import LiveBytes
from gillnext.runtime import training


@dataclasses.dataclass(frozen=True)
class StepBytes:
    """unet and adapter: their weights. gradients: what a backward leaves. states: the optimiser's and the average.
    activations: what the graph saves of the forward, by autograd's own hooks, without weights. peak: the most that was
    alive in a step with all of these, weights included.
    """

    unet: int
    adapter: int
    gradients: int
    states: int
    activations: int
    peak: int


def size(tensors: Iterable[Tensor]) -> int:
    """Bytes of the storages, each once."""
    return sum({t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in tensors}.values())


def made(shape: dict[str, Any], precision: str, checkpointed: bool, arm: Arm) -> Denoiser:
    """The UNet of `shape` with `arm`'s adapter, as `adapter.trainer` makes them: frozen weights in `precision`, what is
    trained in float32.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32 if arm.unet_lr else training.TYPES[precision])
    unet = UNet2DConditionModel(**shape).requires_grad_(arm.unet_lr > 0)
    torch.set_default_dtype(before)
    adapter = build_adapter(Config(), arm, unet, 0)
    adapter.inject(unet)
    if checkpointed:
        recompute(unet)
    return Denoiser(adapter, unet)


def count(
    shape: dict[str, Any], precision: str = "bf16", checkpointed: bool = False, arm: Arm | None = None
) -> StepBytes:
    """A step of `arm` (without one the reference's) on a UNet of `shape`, batch 1, with AdamW and an average."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        model = made(shape, precision, checkpointed, arm or Arm())
        loss_of = kolors.autocast(model, precision)
        trained = [p for p in model.parameters() if p.requires_grad]
        weights = {p.untyped_storage()._cdata for p in model.parameters()}
        batch, saved = kolors.draw(model.unet.config, 0, 0), dict[int, Tensor]()

        def keep(tensor: Tensor) -> Tensor:
            key = tensor.untyped_storage()._cdata
            if key not in weights:
                saved[key] = tensor
            return tensor

        with LiveBytes() as live:
            optimiser = torch.optim.AdamW(trained)
            ema = training.Ema(trained, 0.9)
            for p in trained:  # the moments, as after a first step
                optimiser.state[p] = {"step": torch.tensor(1.0), "exp_avg": torch.zeros_like(p)}
                optimiser.state[p]["exp_avg_sq"] = torch.zeros_like(p)
            states = live.live
            with saved_tensors_hooks(keep, lambda tensor: tensor):
                loss = loss_of(batch)
            activations = size(saved.values())
            saved.clear()
            loss.backward()
            del loss
            gradients = live.live - states
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimiser.step()
            optimiser.zero_grad()
            ema.update(trained)
        parts = size(model.unet.parameters()), size(model.adapter.parameters())
        return StepBytes(*parts, gradients, states, activations, sum(parts) + live.peak)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", nargs="+", choices=training.TYPES, default=["bf16", "no"])
    for precision in parser.parse_args(argv).precision:
        for checkpointed in (False, True):
            found = dataclasses.asdict(count(kolors.UNET, precision, checkpointed))
            figures = ", ".join(f"{name} {value / 2**20:,.1f}" for name, value in found.items())
            print(f"{precision}{', checkpointed' * checkpointed}: {figures} MiB", flush=True)


if __name__ == "__main__":
    main()
