"""One training of InstructPix2Pix over frames: its weights, its step, and what is kept of it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.tracking import filter_trackers
from torch import Tensor, nn
from torch.nn import functional as F

from gillnext.config.model import Config
from gillnext.diffusion.objective import training_scheduler
from gillnext.frames.examples import Batch, Examples
from gillnext.frames.latents import Latents
from gillnext.frames.pipeline import FramesPipeline, scale
from gillnext.runtime import training
from gillnext.runtime.errors import UserError

SMALLEST_SCALE = 2.0**-10  # of fp16's losses: gradients that overflow at less do so at any
SHOWN = 6  # validation clips whose pictures are drawn on the way


def accelerator(cfg: Config, work: Path) -> Accelerator:
    """Accelerate's, with the tracker of the settings in `work`; `UserError` where wandb is asked for and not installed.

    It leaves fp16 out on a CPU, in silence; here it has a scaler and autocast there as well.
    """
    name = cfg.frames.training.tracker
    if name == "wandb" and importlib.util.find_spec("wandb") is None:
        remedy = "frames.training.tracker: tensorboard, or install wandb into the environment"
        raise UserError("Weights & Biases is not installed", where="frames.training.tracker: wandb", remedy=remedy)
    found = Accelerator(cpu=cfg.run.device == "cpu", mixed_precision=cfg.run.precision, project_dir=str(work))
    found.log_with = filter_trackers([name], str(work))
    if cfg.run.precision == "fp16" and found.device.type == "cpu":
        found.scaler, found.native_amp = torch.amp.GradScaler("cpu"), True
    return found


class Denoiser(nn.Module):
    """The UNet with its loss, as accelerate wraps it: the mean squared error of the prediction."""

    def __init__(self, pipeline: FramesPipeline) -> None:
        super().__init__()
        self.unet = pipeline.unet
        self.pipeline = [pipeline]  # no module of this one

    def forward(self, batch: Batch) -> Tensor:
        """A number; `Batch` has the shapes."""
        (pipeline,) = self.pipeline
        frames = pipeline.conditions(batch.frames)
        added = pipeline.added(batch.pooled)
        joined = torch.cat([batch.noisy, frames], 1)  # (B, C + F·C, h, w)
        found = self.unet(joined, batch.timesteps, batch.states, added_cond_kwargs=added).sample
        return F.mse_loss(found.float(), batch.target)


class Trainer:
    """`step(t)` depends on the weights and on t alone, in fp16 on the scaler as well. Weights are float32."""

    def __init__(self, cfg: Config, pipeline: FramesPipeline, latents: Latents, accelerator: Accelerator) -> None:
        self.cfg, self.settings, self.pipeline, self.accelerator = cfg, cfg.frames.training, pipeline, accelerator
        processes = accelerator.num_processes
        if self.settings.batch % processes:
            what = f"a batch of {self.settings.batch} for {processes} processes"
            raise UserError(what, where="frames.training.batch", remedy="a multiple of them: each gets an equal share")
        unet = pipeline.unet.to(accelerator.device).requires_grad_(True)
        pipeline.vae.to(accelerator.device)
        if self.settings.gradient_checkpointing:
            unet.enable_gradient_checkpointing()
            unet.train()
        self.examples = Examples(
            latents, training_scheduler(pipeline.scheduler.config), pipeline.frames, self.settings.batch,
            self.settings.accumulation, self.settings.drop, cfg.run.seed,
        )  # fmt: skip
        self.parameters = list(unet.parameters())
        self.optimiser = torch.optim.AdamW(self.parameters, lr=self.settings.lr, betas=(0.9, 0.99), weight_decay=0.01)
        self.model = accelerator.prepare_model(Denoiser(pipeline))
        self.wrapped = accelerator.prepare_optimizer(self.optimiser)
        self.ema = training.Ema(self.parameters, self.settings.ema) if self.settings.ema else None

    def backward(self, t: int) -> Tensor:
        """Gradients of the mean loss over a step's micro-batches; returns the loss."""
        share, losses = (self.accelerator.process_index, self.accelerator.num_processes), []
        for k in range(self.settings.accumulation):
            last = k == self.settings.accumulation - 1
            with self.accelerator.no_sync(self.model) if not last else torch.enable_grad():
                batch = self.examples.of(t, k, share).to(self.accelerator.device)
                loss = self.model(batch) / self.settings.accumulation
                self.accelerator.backward(loss)
            losses.append(loss.detach())
        return torch.stack(losses).sum()

    def step(self, t: int) -> dict[str, float]:
        """One optimiser step; returns loss, learning rate and the gradient's norm before clipping.

        In fp16 a step whose gradients overflow changes neither weights nor moments nor averages: `skipped` is 1, its
        norm is 0, and the scaler halves its scale. Its batch and its place in the schedule are spent.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = training.cosine(t, self.settings.steps, self.settings.lr)
        loss = self.backward(t)
        self.accelerator.unscale_gradients(self.wrapped)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.clip_norm)
        self.wrapped.step()
        self.wrapped.zero_grad(set_to_none=True)
        skipped = bool(self.wrapped.step_was_skipped)
        if self.ema and not skipped:
            self.ema.update(self.parameters)
        mean = self.accelerator.reduce(loss, "mean").item()
        if not np.isfinite(mean):
            raise FloatingPointError(f"pix2pix: the loss is {mean} at step {t}")
        found = {"loss": mean, "gradient_norm": 0.0 if skipped else norm.item()}
        found["lr"] = self.optimiser.param_groups[0]["lr"]
        if scaler := self.accelerator.scaler:
            found |= {"skipped": float(skipped), "loss_scale": scaler.get_scale()}
            if skipped and scaler.get_scale() < SMALLEST_SCALE:
                raise FloatingPointError(f"pix2pix: the gradients overflow at any scale, at step {t}")
        return found

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds, as `training.save_state` and `load_state` take it."""
        scaler = self.accelerator.scaler
        return {"parameters": self.parameters, "optimiser": self.optimiser, "ema": self.ema, "scaler": scaler}

    @torch.no_grad()
    def averaged(self) -> list[Tensor]:
        """Put the averaged weights into the UNet; returns those that were there."""
        there = [p.detach().clone() for p in self.parameters]
        if self.ema:
            self.ema.copy_to(self.parameters)
        return there

    @torch.no_grad()
    def restore(self, weights: list[Tensor]) -> None:
        for p, value in zip(self.parameters, weights, strict=True):
            p.copy_(value)

    @torch.no_grad()
    def validate(self, latents: Latents) -> tuple[np.ndarray, float]:
        """Rows of last frame, target and output of the first validation clips, (N, H, 3·W, 3) uint8, and the mean
        absolute error of the outputs, in 255ths; with the averaged weights, without guidance.
        """
        there, asked, count = self.averaged(), self.settings, min(SHOWN, len(latents))
        pairs = [latents.of(i, 0, self.pipeline.frames) for i in range(count)]
        frames, targets = (torch.stack(part) for part in zip(*pairs, strict=True))
        found = self.pipeline.draw(
            frames, latents.texts(latents.number[:count]), latents.texts(torch.tensor([-1])),
            [("validation", i) for i in range(count)], steps=asked.validation_steps, text_guidance=1.0,
            image_guidance=1.0,
        )  # fmt: skip
        self.restore(there)
        shown = [self.pipeline.pictures(x) for x in (scale(self.pipeline.vae, frames[:, -1]), targets, found)]
        error = float(np.abs(shown[2].astype(float) - shown[1]).mean())
        return np.concatenate(shown, axis=2), error
