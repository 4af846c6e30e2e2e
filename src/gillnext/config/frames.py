"""The settings of InstructPix2Pix over frames: its clips, its training, how it draws, and what it is scored on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from gillnext.config.setting import s


@dataclass(frozen=True)
class Clips:
    train: int = s(1_500, "training clips of the drawn world, a third of each task")
    val: int = s(48, "validation clips: what choices are made on")
    test: int = s(180, "test clips, which are scored")
    jitter: float = s(0.01, "deviation of the camera's place, as a share of the picture; it drifts from frame to frame")


@dataclass(frozen=True)
class Training:
    scaled: bool = s(False, "frame latents are scaled as the noisy ones are; InstructPix2Pix has them unscaled")
    drop: float = s(0.05, "share of samples without the instruction, as many without the frames, as many without both")
    steps: int = s(3_000, "optimiser steps")
    batch: int = s(8, "clips a micro-batch, of all processes together")
    accumulation: int = s(1, "micro-batches a step")
    lr: float = s(1e-3, "peak learning rate (cosine, warm-up of a twentieth)")
    clip_norm: float = s(1.0, "gradient norm is clipped to this")
    ema: float = s(0.995, "decay of the averaged weights that are saved; 0: none")
    checkpoint_every: int = s(100, "steps between checkpoints")
    validate_every: int = s(450, "steps between validation pictures, drawn without guidance; 0: none")
    validation_steps: int = s(6, "of the sampler, for these pictures")
    gradient_checkpointing: bool = s(False, "recompute activations in the backward pass")
    tracker: Literal["tensorboard", "wandb"] = s("tensorboard", "where scalars and validation pictures go")


@dataclass(frozen=True)
class Drawing:
    steps: int = s(6, "steps of the base's own sampler")
    text_guidance: float = s(3.0, "guidance scale of the instruction; the best on validation clips, as the next")
    image_guidance: float = s(1.5, "guidance scale of the frames")
    text_scales: list[float] = s([1.0, 2.0, 3.0, 6.0], "of the instruction, in the sweep on validation clips")
    image_scales: list[float] = s([1.0, 1.5, 2.0], "of the frames, in the same sweep")
    batch: int = s(32, "clips drawn at a time")


@dataclass(frozen=True)
class Frames:
    clips: Clips = field(default_factory=Clips, metadata={"doc": "of the drawn world"})
    count: int = s(20, "frames that are read of a clip; the one after them is the target")
    broken: Literal["error", "drop"] = s(
        "error", "a clip that cannot be used ends the stage, or is left out and counted"
    )
    variants: int = s(1, "versions of a training clip, augmented each in its own way and encoded once")
    flip: float = s(0.5, "share of versions whose frames and target are mirrored, all of them or none")
    crop: float = s(1.0, "least side of the window, as a share, that frames and target are cut to; 1: the whole")
    training: Training = field(default_factory=Training, metadata={"doc": "of the grown model"})
    drawing: Drawing = field(default_factory=Drawing, metadata={"doc": "of targets, by a trained model"})
