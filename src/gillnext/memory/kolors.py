"""Kolors' UNet at its real size with random weights, and a random batch: 1024 × 1024 pixels, 256 caption tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from gillnext.adapter.objective import Batch
from gillnext.diffusion.objective import size_conditions
from gillnext.layouts import MAX_BOXES
from gillnext.runtime import seeds, training
from gillnext.runtime.errors import UserError

# unet/config.json of Kwai-Kolors/Kolors-diffusers: SDXL's shape with a projection of ChatGLM's states.
UNET: dict[str, Any] = {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "layers_per_block": 2,
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "encoder_hid_dim": 4096,
    "encoder_hid_dim_type": "text_proj",
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 5632,
}
TOKENS = 256  # of a caption
PIXELS = 8  # a side of a latent's cell
NEEDED = 75 * 2**30  # bytes: what devices that are sold as 80 GB have at least


def check(device: str) -> None:
    """`UserError` unless `device` is a GPU with memory for it."""
    gpu = torch.device(device).type == "cuda"
    room = torch.cuda.get_device_properties(device).total_memory if gpu else 0
    if room < NEEDED:
        raise UserError(
            f"a UNet of 2.6 billion parameters at 1024 × 1024 pixels does not fit {device}"
            + f" ({room / 2**30:.0f} GiB)" * gpu,
            where="memory.size: kolors",
            remedy="give run.device: cuda on a GPU of 80 GB (config/gpu.yaml), or memory.size: base",
        )


def build(config: dict[str, Any], device: str, precision: str = "no") -> UNet2DConditionModel:
    """The UNet of `config` with random weights, made on `device`; `precision` is its weights' type."""
    with torch.device(device):
        torch.manual_seed(seeds.key("kolors"))
        unet = UNet2DConditionModel(**config)
    return unet.to(training.TYPES[precision]).eval()


def draw(config: Any, seed: int, k: int) -> Batch:
    """A batch of one: latents (1, 4, h, w), states (1, 256, D), six slots of which two have boxes."""
    generator = seeds.torch_generator("kolors", seed, k)
    side, width = config.sample_size, config.encoder_hid_dim
    noisy, target = torch.randn(2, 1, config.in_channels, side, side, generator=generator)
    pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
    boxes = torch.zeros(1, MAX_BOXES, 4)
    boxes[0, :2] = torch.tensor([[0.05, 0.3, 0.45, 0.8], [0.55, 0.2, 0.9, 0.7]])
    return Batch(
        noisy=noisy,
        target=target,
        timesteps=torch.randint(1000, (1,), generator=generator),
        states=torch.randn(1, TOKENS, width, generator=generator),
        pooled=torch.randn(1, pooled, generator=generator),
        time_ids=size_conditions(1, PIXELS * side),
        boxes=boxes,
        real=boxes.any(-1),
        phrases=torch.randn(1, MAX_BOXES, config.cross_attention_dim, generator=generator),
        dropped=torch.zeros(1, dtype=torch.bool),
    )


def autocast(model: nn.Module, precision: str) -> Callable[[Batch], Tensor]:
    """`model` in mixed precision: its activations in `precision`, the loss and what is trained in float32."""

    def forward(batch: Batch) -> Tensor:
        with torch.autocast(batch.noisy.device.type, training.TYPES[precision], enabled=precision != "no"):
            return model(batch)

    return forward
