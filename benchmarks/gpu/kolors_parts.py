"""What `kolors.py` measures of one UNet: the trainer's own steps, the pipeline's own sampling, and decoding."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler
from torch import Tensor

from gillnext.adapter.cache_shards import Rows
from gillnext.adapter.pipeline import GroundedKolorsPipeline
from gillnext.adapter.trainer import Trainer, build_adapter
from gillnext.config.model import Config
from gillnext.diffusion.objective import size_conditions
from gillnext.layouts import Layout
from gillnext.memory import kolors
from gillnext.runtime import training

# scheduler/scheduler_config.json of Kwai-Kolors/Kolors-diffusers.
SCHEDULE: dict[str, Any] = {
    "beta_start": 0.00085, "beta_end": 0.014, "beta_schedule": "scaled_linear", "num_train_timesteps": 1100,
    "timestep_spacing": "leading", "steps_offset": 1,
}  # fmt: skip
PEAK = 989e12  # dense bfloat16 FLOP/s of an H100's or H200's data sheet (SXM)
ROWS = 16  # of the rows that stand for a cache's
WARM, STEPS, LEAST = 2, 6, 3  # steps before the clock; timed ones; as many of these whatever they take
PATIENCE = 4.0  # seconds of timed steps, after which none is begun


def release() -> None:
    """Free what nothing holds any more; adapters, hooks and UNets hold one another."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def bytes_at_peak(device: torch.device) -> int:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0


def median_seconds(run: Callable[[], Any], repeats: int, device: torch.device) -> float:
    taken = []
    for _ in range(repeats):
        wait(device)
        began = time.perf_counter()
        run()
        wait(device)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def grounded(unet: Any) -> Any:
    """The grounded pipeline of `unet`, with neither text encoder nor autoencoder."""
    unet.to(memory_format=torch.channels_last)  # as pipelines are loaded
    pipeline: Any = GroundedKolorsPipeline(None, None, None, unet, EulerDiscreteScheduler(**SCHEDULE))
    pipeline.set_progress_bar_config(disable=True)
    pipeline.tokenizer = SimpleNamespace(model_max_length=kolors.TOKENS)
    return pipeline


def clean(pipeline: Any, cfg: Config, device: torch.device) -> None:
    """The UNet as it was made: frozen, in the run's precision, without adapter, gradients and recomputation."""
    pipeline.detach()
    unet = pipeline.unet.requires_grad_(False).eval()
    for p in unet.parameters():
        p.grad = None
    unet.disable_gradient_checkpointing()
    unet.to(training.TYPES[cfg.run.precision])
    release()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


class DrawnRows:
    """Random rows in the place of a `Cache`, of which training calls `pick` and `read`."""

    def __init__(self, unet: Any, slots: int) -> None:
        shape, generator = unet.config, torch.Generator().manual_seed(0)

        def normal(*sizes: int) -> Tensor:
            return torch.randn(ROWS, *sizes, generator=generator)

        corners = torch.rand(ROWS, slots, 2, generator=generator) * 0.5
        self.rows = Rows(
            latents=normal(shape.in_channels, shape.sample_size, shape.sample_size),
            states=normal(kolors.TOKENS, shape.encoder_hid_dim),
            pooled=normal(pooled_width(unet)),
            time_ids=size_conditions(ROWS, kolors.PIXELS * shape.sample_size),
            boxes=torch.cat([corners, corners + 0.4], -1),
            real=(torch.arange(slots) < 4).repeat(ROWS, 1),
            phrases=normal(slots, shape.cross_attention_dim),
        )
        self.empty_states, self.empty_pooled = self.rows.states[0], self.rows.pooled[0]

    def pick(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.randint(ROWS, (count,), generator=generator)

    def read(self, pick: Tensor) -> Rows:
        return Rows(**{key: value[pick] for key, value in vars(self.rows).items()})


def pooled_width(unet: Any) -> int:
    shape = unet.config
    return shape.projection_class_embeddings_input_dim - 6 * shape.addition_time_embed_dim


def steps(cfg: Config, arm: str, pipeline: Any, device: torch.device, flop: float, folder: Path) -> dict[str, Any]:
    """The trainer's own steps of an arm: seconds of one, and the most bytes."""
    clean(pipeline, cfg, device)
    batch, rows = cfg.adapter.batch, DrawnRows(pipeline.unet, cfg.adapter.slots)
    trainer = Trainer(cfg, cfg.study.arms[arm], 0, pipeline, rows, folder / "adapter")  # type: ignore[arg-type]
    taken = trainer.seconds
    with closing(trainer.drawn):
        for t in range(WARM):
            row = trainer.step(t)
        taken.clear()
        while len(taken) < LEAST or (len(taken) < STEPS and sum(taken) < PATIENCE):
            row = trainer.step(WARM + len(taken))
    seconds = statistics.median(taken)
    return {
        "batch": batch,
        "recomputed": cfg.adapter.gradient_checkpointing,
        "trained_parameters": sum(p.numel() for p in trainer.parameters),
        "step_seconds": seconds,
        "slowest_step_seconds": max(taken),
        "steps_per_second": 1 / seconds,
        "samples_per_second": batch / seconds,
        "repeats": len(taken),
        "bytes_at_peak": bytes_at_peak(device),
        "trainer_gpu": trainer.gpu(),
        "tflop_per_sample": flop / 1e12,
        "share_of_peak": flop * batch / seconds / PEAK,
        "loss": row["loss"],
    }


def sample(
    cfg: Config, arm: str, batch: int, pipeline: Any, device: torch.device, flop: float, repeats: int
) -> dict[str, Any]:
    """Latents of pictures by the pipeline's own call, with guidance; `arm` "none" has no adapter in the UNet."""
    clean(pipeline, cfg, device)
    unet, dtype = pipeline.unet, training.TYPES[cfg.run.precision]

    def normal(*sizes: int) -> Tensor:
        return torch.randn(*sizes, device=device, dtype=dtype)

    if arm != "none":
        adapter = build_adapter(cfg, cfg.study.arms[arm], unet, 0).eval().to(device, dtype)
        pipeline.attach(adapter)
        phrases = normal(2 * batch, 64, unet.config.cross_attention_dim)  # the text encoder's, which is not here
        pipeline.table = lambda names, slots: phrases[: len(names), :slots]
    layouts = [Layout("", ("a", "b"), ((0.05, 0.3, 0.45, 0.8), (0.55, 0.2, 0.9, 0.7)))] * batch
    sizes = {
        "prompt_embeds": (kolors.TOKENS, unet.config.encoder_hid_dim),
        "pooled_prompt_embeds": (pooled_width(unet),),
    }
    given = {kind + name: normal(batch, *size) for kind in ("", "negative_") for name, size in sizes.items()}

    def draw(count: int) -> Any:
        return pipeline(
            **given, num_inference_steps=count, guidance_scale=cfg.sample.guidance, output_type="latent",
            layouts=None if arm == "none" else layouts,
        )  # fmt: skip

    draw(2)
    seconds = median_seconds(lambda: draw(cfg.sample.steps), repeats, device)
    peak = bytes_at_peak(device)
    pipeline.detach()
    return {
        "batch": batch,
        "unet_steps": cfg.sample.steps,
        "seconds": seconds,
        "seconds_per_image": seconds / batch,
        "repeats": repeats,
        "bytes_at_peak": peak,
        "share_of_peak": 2 * cfg.sample.steps * batch * flop / seconds / PEAK,
    }


@torch.no_grad()
def decode(batch: int, toy: bool, device: torch.device, dtype: torch.dtype, flop: float) -> dict[str, Any]:
    """SDXL's autoencoder: latents to pictures of 1024 pixels a side."""
    from gillnext.memory import published  # loads the detectors' classes, which no other figure needs

    shape = published.VAE | ({"block_out_channels": (32, 32, 32, 32)} if toy else {})
    with device:
        vae = AutoencoderKL(**shape).eval().to(dtype, memory_format=torch.channels_last)
    side, repeats = kolors.UNET["sample_size"], 5
    latents = torch.randn(batch, 4, side, side, device=device, dtype=dtype)
    vae.decode(latents)
    seconds = median_seconds(lambda: vae.decode(latents), repeats, device)
    return {
        "batch": batch,
        "seconds": seconds,
        "seconds_per_image": seconds / batch,
        "repeats": repeats,
        "bytes_at_peak": bytes_at_peak(device),
        "share_of_peak": flop * batch / seconds / PEAK,
    }
