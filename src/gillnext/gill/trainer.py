"""One training of a Gill: its losses, its step over all processes, and what a checkpoint holds."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from gillnext.config.model import Config
from gillnext.gill import backward, losses
from gillnext.gill.batches import Batch
from gillnext.gill.examples import Examples
from gillnext.gill.model import Gill
from gillnext.runtime import training
from gillnext.runtime.errors import UserError

CLIP_NORM = 1.0  # gradient norm is clipped to this


def everyones(accelerator: Accelerator, own_BE: Tensor) -> Tensor:
    """The embeddings of all processes' samples, of which this process's have a gradient.

    Gradients are averaged over processes at the end, and each embedding has one from its own process alone: it counts
    as often as there are processes.
    """
    index, processes = accelerator.process_index, accelerator.num_processes
    if processes == 1:
        return own_BE
    all_ = list(accelerator.gather(own_BE.detach()).chunk(processes))
    all_[index] = own_BE.detach() + processes * (own_BE - own_BE.detach())
    return torch.cat(all_)


class Trainer:
    """`step(t)` depends on the weights and on t alone. What is frozen has the type of `run.precision`, what is trained
    float32.
    """

    def __init__(self, cfg: Config, gill: Gill, examples: Examples, accelerator: Accelerator) -> None:
        self.cfg, self.settings, self.examples, self.accelerator = cfg, cfg.gill, examples, accelerator
        for name in ("batch", "captions"):
            if (size := getattr(self.settings, name)) % (accelerator.num_processes * backward.PARTS):
                what = f"a batch of {size} for {accelerator.num_processes} processes, in halves"
                remedy = "a multiple of twice the processes: each gets an equal share"
                raise UserError(what, where=f"gill.{name}", remedy=remedy)
        self.gill = gill.to(accelerator.device)
        self.gill.reset_norms()
        self.parameters = list(gill.trainable_parameters().values())
        self.optimiser = torch.optim.AdamW(self.parameters, lr=self.settings.lr, betas=(0.9, 0.99), weight_decay=0.01)
        self.tasks = self.weighted()

    def weighted(self) -> dict[str, tuple[float, Callable[[Batch], Tensor]]]:
        """Each loss with its weight, by name; those of weight 0 are not computed."""
        weights = self.settings.weights
        matching, variances = self.settings.generation == "matching", self.examples.captions.variances()
        tasks: dict[str, tuple[float, Callable[[Batch], Tensor]]] = {
            "captioning": (weights.captioning, partial(losses.captioning, self.gill)),
            "retrieval": (
                weights.retrieval,
                partial(losses.retrieval, self.gill, everyones=partial(everyones, self.accelerator)),
            ),
            "generation": (
                weights.generation,
                partial(losses.matching, self.gill, variances=variances) if matching else self.denoising,
            ),
        }
        return {name: task for name, task in tasks.items() if task[0]}

    def denoising(self, batch: Batch) -> Tensor:
        """The loss through the UNet, in the precision that is trained in."""
        with self.accelerator.autocast():
            return losses.generation(self.gill, batch)

    def backward(self, batch: Batch) -> dict[str, float]:
        """Gradients of the weighted losses of this process's share, by `gill.backward`; returns the losses."""
        values = {name: torch.zeros((), device=self.accelerator.device) for name in self.tasks}

        def kept(name: str, weight: float, loss: backward.Loss) -> backward.Loss:
            def run(index: int, parts: int) -> Tensor:
                value = loss(index, parts)
                values[name] += value.detach()
                return weight * value

            return run

        todo = [kept(name, weight, backward.of_part(task, batch)) for name, (weight, task) in self.tasks.items()]
        backward.step(todo, self.settings.backward)
        return {name: self.accelerator.reduce(value, "mean").item() for name, value in values.items()}

    def average_gradients(self) -> None:
        """The gradients' mean over processes; a parameter that no loss has reached has zeros."""
        for p in self.parameters:
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad
        if self.accelerator.num_processes > 1:
            flat = torch.cat([p.grad.flatten() for p in self.parameters if p.grad is not None])
            mean = self.accelerator.reduce(flat, "mean").split([p.numel() for p in self.parameters])
            for p, part in zip(self.parameters, mean, strict=True):
                p.grad = part.view_as(p)

    def step(self, t: int) -> dict[str, float]:
        """One optimiser step; returns each loss, the gradient's norm before clipping, the learning rate, and how many
        turns of the batch were cut.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = training.cosine(t, self.settings.steps, self.settings.lr)
        share = self.accelerator.process_index, self.accelerator.num_processes
        batch, cut = self.examples.draw(self.settings.batch, (self.cfg.run.seed, t), share)
        values = self.backward(batch.to(self.accelerator.device))
        self.average_gradients()
        norm = nn.utils.clip_grad_norm_(self.parameters, CLIP_NORM).item()
        if not all(map(math.isfinite, [*values.values(), norm])):
            raise FloatingPointError(f"gill: {values}, and a gradient of norm {norm}, at step {t}")
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.gill.reset_norms()
        return values | {"gradient_norm": norm, "lr": self.optimiser.param_groups[0]["lr"], "cut": float(cut)}
