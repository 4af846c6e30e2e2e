"""One training of the adapter: its weights, its step, and what of it is saved."""

from __future__ import annotations

import datetime
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs
from diffusers import ModelMixin
from torch import Tensor

from gillnext.adapter import objective
from gillnext.adapter.cache import Cache
from gillnext.adapter.loading import Ahead
from gillnext.adapter.model import SpatialAdapter
from gillnext.adapter.objective import Denoiser
from gillnext.adapter.pipeline import UNET
from gillnext.adapter.sharding import shard
from gillnext.config.model import Arm, Config
from gillnext.diffusion.objective import training_scheduler
from gillnext.runtime import seeds, training
from gillnext.runtime.divided import whole
from gillnext.runtime.errors import UserError

SMALLEST_SCALE = 2.0**-10  # of fp16's losses: gradients that overflow at less do so at any


def arm_of(cfg: Config, name: str) -> Arm:
    """The arm's settings; `UserError` names the arms that there are."""
    if name not in cfg.study.trained:
        remedy = f"one of {', '.join(cfg.study.trained)}"
        raise UserError(f"{name!r} is no arm to train", where="study.arms", remedy=remedy)
    return cfg.study.arms[name]


def build_adapter(cfg: Config, arm: Arm, unet: torch.nn.Module, seed: int) -> SpatialAdapter:
    """An untrained adapter; its initial weights depend on the training seed alone."""
    torch.manual_seed(seeds.key("adapter", cfg.run.seed, seed))
    return SpatialAdapter.for_unet(
        unet,
        site=arm.site,
        bias=arm.bias,
        coordinates=arm.coordinates,
        frequencies=arm.frequencies,
        width=cfg.adapter.width,
        phrases=arm.phrases,
    )


def recompute(unet: Any) -> None:
    """Recompute activations in the backward pass; diffusers does so in training mode only. The UNet has no dropout."""
    unet.enable_gradient_checkpointing()
    unet.train()


def unreached(adapter: SpatialAdapter, what: str) -> UserError:
    return UserError(
        f"the gradient does not reach {what} of the adapter",
        where=f"site {adapter.config.site}",
        remedy="look at processors.txt: every listed layer must be in the UNet that is trained",
    )


def check_reached(adapter: SpatialAdapter) -> None:
    """Refuse to train where the gradient does not reach a parameter of the adapter, or is zero everywhere."""
    missing = [name for name, p in adapter.named_parameters() if p.grad is None]
    if missing or not any(whole(p.grad, p.grad).any() for p in adapter.parameters() if p.grad is not None):
        raise unreached(adapter, missing[0] if missing else "any parameter")


def accelerator(cfg: Config, work: Path) -> Accelerator:
    """Accelerate's, with TensorBoard in `work`.

    It leaves fp16 out on a CPU, in silence; here it has a scaler and autocast there as well.
    """
    wait = InitProcessGroupKwargs(timeout=datetime.timedelta(seconds=cfg.adapter.timeout))
    found = Accelerator(
        cpu=cfg.run.device == "cpu",
        mixed_precision=cfg.run.precision,
        log_with="tensorboard",
        project_dir=str(work),
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=False), wait],
    )
    if cfg.run.precision == "fp16" and found.device.type == "cpu":
        found.scaler, found.native_amp = torch.amp.GradScaler("cpu"), True
    return found


class Trainer:
    """One arm, one seed. `step(t)` depends on the weights and on t alone, in fp16 on the scaler as well. What is frozen
    has the type of `run.precision`, what is trained float32.
    """

    def __init__(self, cfg: Config, arm: Arm, seed: int, pipeline: Any, cache: Cache, out: Path):
        self.cfg, self.settings, self.seed, self.cache, self.out = cfg, cfg.adapter, seed, cache, out
        self.steps, self.lr = arm.steps_of(cfg.adapter), cfg.adapter.lr if arm.lr is None else arm.lr
        self.trains_unet, self.drop_caption = arm.unet_lr > 0, arm.drop_caption
        self.accelerator = accelerator(cfg, out.with_name(out.name + ".work"))
        processes, device = self.accelerator.num_processes, self.accelerator.device
        if self.settings.batch % processes:
            what = f"a batch of {self.settings.batch} for {processes} processes"
            raise UserError(what, where="adapter.batch", remedy="a multiple of them: each process gets an equal share")
        self.pipeline = pipeline
        unet = pipeline.unet.requires_grad_(self.trains_unet)
        unet.to(device, torch.float32 if self.trains_unet else training.TYPES[cfg.run.precision])
        if self.settings.gradient_checkpointing:
            recompute(unet)
        self.adapter = build_adapter(cfg, arm, unet, seed).to(device)
        pipeline.attach(self.adapter)
        self.listing = self.adapter.listing(unet)
        self.scheduler = training_scheduler(pipeline.scheduler.config)
        self.prepare(arm)
        self.drawn = Ahead(self.draw, self.steps, self.settings.prefetch)
        self.seconds: list[float] = []  # of this process's steps

    def prepare(self, arm: Arm) -> None:
        """What is trained, divided or copied among the processes, with its optimiser and average."""
        accelerator, settings, unet = self.accelerator, self.settings, self.pipeline.unet
        denoiser = Denoiser(self.adapter, unet)
        self.sharded = settings.sharding == "zero2" and self.trains_unet and accelerator.num_processes > 1
        if self.sharded:
            shard(denoiser, accelerator.device.type, accelerator.num_processes)
        groups: list[dict[str, Any]] = [{"params": list(self.adapter.parameters()), "peak": self.lr}]
        if arm.unet_lr:
            groups.append({"params": list(unet.parameters()), "peak": arm.unet_lr})
        self.parameters = [p for group in groups for p in group["params"]]
        self.optimiser = torch.optim.AdamW(groups, lr=self.lr, betas=(0.9, 0.99), weight_decay=0.01)
        self.model = accelerator.prepare_model(denoiser, evaluation_mode=self.sharded)  # DDP's, unless it is divided
        self.wrapped = accelerator.prepare_optimizer(self.optimiser)
        where = None if settings.ema_device == "same" else settings.ema_device
        self.ema = training.Ema(self.parameters, settings.ema, where) if settings.ema else None

    def draw(self, step: int) -> list[objective.Batch]:
        """This process's share of the step's micro-batches, in the memory of the CPU."""
        share, shares = self.accelerator.process_index, self.accelerator.num_processes
        batches = []
        for k in range(self.settings.accumulation):
            batch = objective.draw(
                self.cache, self.scheduler, self.settings.batch, self.settings.drop,
                (self.cfg.run.seed, self.seed, step, k), self.drop_caption, (share, shares),
            )  # fmt: skip
            batches.append(batch)
        if self.accelerator.device.type == "cuda":  # pinned: the copy to the GPU does not wait
            if self.accelerator.device.index is not None:  # a thread begins on the first, and would pin there
                torch.cuda.set_device(self.accelerator.device)
            batches = [objective.Batch(**{k: v.pin_memory() for k, v in vars(batch).items()}) for batch in batches]
        return batches

    def micro_batches(self, step: int) -> list[objective.Batch]:
        """This process's share of the step's micro-batches, on its device."""
        return [objective.to(batch, self.accelerator.device) for batch in self.drawn(step)]

    def loss(self, batch: objective.Batch) -> Tensor:
        """The loss of a micro-batch; `UserError` where it does not depend on the adapter."""
        loss = self.model(batch)
        if not loss.requires_grad:
            raise unreached(self.adapter, "any parameter")
        return loss

    def backward(self, batches: list[objective.Batch]) -> Tensor:
        """Gradients of the mean loss, by one summed backward or one for each micro-batch; returns the loss."""
        if self.settings.backward == "summed":
            loss = torch.stack([self.loss(batch) for batch in batches]).mean()
            self.accelerator.backward(loss)
            return loss.detach()
        losses = []
        for k, batch in enumerate(batches):
            last = k == len(batches) - 1
            with self.accelerator.no_sync(self.model) if not last else torch.enable_grad():
                loss = self.loss(batch) / len(batches)
                self.accelerator.backward(loss)
            losses.append(loss.detach())
        return torch.stack(losses).sum()

    def step(self, t: int) -> dict[str, float | None]:
        """One optimiser step; returns loss, learning rate, and the gradient's norm before clipping, of all that is
        trained and of the position net alone (the MLP that makes tokens of boxes and phrases).

        In fp16 a step whose gradients overflow changes neither weights nor moments nor averages: `skipped` is 1, and it
        has no norms. Its batch and its place in the schedule are spent, so that t alone says what comes next.
        """
        began = time.perf_counter()
        for group in self.optimiser.param_groups:
            group["lr"] = training.cosine(t, self.steps, group["peak"])
        loss = self.backward(self.micro_batches(t))
        self.accelerator.unscale_gradients(self.wrapped)
        if t == 0:
            check_reached(self.adapter)
        position = torch.nn.utils.get_total_norm([p.grad for p in self.adapter.mlp.parameters() if p.grad is not None])
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.clip_norm)
        norms: dict[str, float | None] = {
            "gradient_norm": whole(norm, norm).item(),
            "position_net_norm": whole(position, position).item(),
        }
        self.wrapped.step()
        self.wrapped.zero_grad(set_to_none=True)
        skipped = self.wrapped.step_was_skipped
        if self.ema and not skipped:
            self.ema.update(self.parameters)
        mean = self.accelerator.reduce(loss, "mean").item()  # waits for the device
        self.seconds.append(time.perf_counter() - began)
        if mean != mean or mean in (float("inf"), float("-inf")):
            raise FloatingPointError(f"adapter: the loss is {mean} at step {t}")
        if scaler := self.accelerator.scaler:
            norms = dict.fromkeys(norms) if skipped else norms
            norms["skipped"] = float(skipped)
            if skipped and scaler.get_scale() < SMALLEST_SCALE:
                raise FloatingPointError(f"adapter: the gradients overflow at any scale, at step {t}")
        return {"loss": mean, **norms, "lr": self.optimiser.param_groups[0]["lr"]}

    def gpu(self) -> dict[str, Any]:
        """A step's cost on GPUs, for the training's record: its median seconds in this process, and the most bytes that
        torch has allocated on any GPU. Empty on a CPU. Every process has to call this.
        """
        device = self.accelerator.device
        if device.type != "cuda" or not self.seconds:
            return {}
        bytes_1 = torch.tensor([torch.cuda.max_memory_allocated(device)], device=device)
        most, seconds = int(self.accelerator.gather(bytes_1).max()), round(statistics.median(self.seconds), 6)
        return {"gpu": {"seconds": seconds, "bytes": most, "name": torch.cuda.get_device_name(device)}}

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds, as `training.save_state` and `load_state` take it."""
        return {
            "parameters": self.parameters,
            "optimiser": self.optimiser,
            "ema": self.ema,
            "scaler": self.accelerator.scaler,
        }

    def finished(self) -> dict[str, ModelMixin]:
        """The adapter, and the UNet where the arm trains it, with their averaged weights, as copies on the CPU by the
        folder that they are saved in; {} on other processes than the main one. Every process calls this.
        """
        main = self.accelerator.is_main_process
        if not main and not self.sharded:
            return {}
        trained = {"": self.adapter} | ({UNET: self.pipeline.unet} if self.trains_unet else {})
        mean = {id(p): self.ema.shadow[i] for i, p in enumerate(self.parameters)} if self.ema else {}
        copies = {}
        for name, model in trained.items():
            with torch.device("meta"):
                copy = type(model).from_config(model.config)
            state = {}
            for key, value in model.state_dict(keep_vars=True).items():
                averaged = whole(mean.get(id(value), value.detach()), value)
                state[key] = averaged.cpu() if main else averaged.to("meta")
            copy.load_state_dict(state, assign=True)
            copies[name] = copy
        return copies if main else {}
