"""The UNet of the demo tier's base model, its schedule, and its loss on batches of samples.

It learns v-prediction (Salimans & Ho, 2022) on the latents of stream "base", in two stages: windows around one object
(`base_on_windows.py`), then whole pictures (`base.py`); its features learn to tell each cell's class as well
(`class_map.py`). A tenth of the captions is empty, for classifier-free guidance.

Letters: B samples, T caption tokens, D width of the text states, H and W cells of the latents.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from gillnext.config.model import Config
from gillnext.diffusion.objective import target, timesteps
from gillnext.miniatures.class_map import ClassMapHead
from gillnext.miniatures.networks.small_chatglm import HIDDEN
from gillnext.miniatures.training_samples import TrainingSamples
from gillnext.runtime import seeds, training

SCHEDULE = {
    "num_train_timesteps": 1000,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.014,
    "prediction_type": "v_prediction",
}
DROP = 0.1  # share of empty captions
HEAD = 32  # channels of an attention head
TIME_DIM = 8  # width of each of the six size conditions
UNET, CLASS_HEAD, LATENTS = "unet", "head.safetensors", "latents.safetensors"  # what one stage leaves to the next


def build_unet(channels: Sequence[int], cells: int = 16) -> UNet2DConditionModel:
    """An untrained UNet for latents of `cells` a side, of SDXL's and Kolors' shape: no attention at the top level,
    cross-attention below.
    """
    levels = len(channels)
    return UNet2DConditionModel(
        sample_size=cells,
        in_channels=4,
        out_channels=4,
        block_out_channels=tuple(channels),
        down_block_types=("DownBlock2D",) + ("CrossAttnDownBlock2D",) * (levels - 1),
        up_block_types=("CrossAttnUpBlock2D",) * (levels - 1) + ("UpBlock2D",),
        layers_per_block=1,
        transformer_layers_per_block=1,
        attention_head_dim=tuple(c // HEAD for c in channels),  # diffusers' name for the number of heads
        norm_num_groups=16,
        use_linear_projection=True,
        cross_attention_dim=HIDDEN,
        encoder_hid_dim=HIDDEN,
        encoder_hid_dim_type="text_proj",
        addition_embed_type="text_time",
        addition_time_embed_dim=TIME_DIM,
        projection_class_embeddings_input_dim=HIDDEN + 6 * TIME_DIM,
    )


class Batches:
    """`loss(unet, head, step)` is that of the step's batch; it depends on the weights and the step alone."""

    def __init__(self, cfg: Config, name: str, samples: TrainingSamples, batch: int) -> None:
        self.name, self.samples, self.batch, self.seed = name, samples, batch, cfg.run.seed
        self.weight = cfg.base.class_map
        self.schedule = DDPMScheduler(**SCHEDULE)
        self.device = torch.device(cfg.run.device)

    def loss(self, unet: UNet2DConditionModel, head: ClassMapHead, step: int) -> Tensor:
        """Denoising and, with the weight `base.class_map`, the classes of the cells: a number."""
        n, samples = self.batch, self.samples
        generator = seeds.torch_generator(self.name, self.seed, step)
        pick_B = torch.randint(len(samples), (n,), generator=generator)
        drop_B = torch.rand(n, generator=generator) < DROP
        steps_B = timesteps(n, self.schedule.config.num_train_timesteps, generator)
        latents_B4HW = samples.latents[pick_B]
        caption_B = torch.where(drop_B, len(samples.states) - 1, samples.caption[pick_B])
        noise_B4HW = torch.randn(latents_B4HW.shape, generator=generator)
        noisy_B4HW = self.schedule.add_noise(latents_B4HW, noise_B4HW, steps_B)
        states_BTD, pooled_BD, time_ids_B6, maps_BHW = (
            part.to(self.device)
            for part in (
                samples.states[caption_B],
                samples.pooled[caption_B],
                samples.time_ids[pick_B],
                samples.maps[pick_B],
            )
        )
        v_B4HW = unet(
            noisy_B4HW.to(self.device, memory_format=torch.channels_last),
            steps_B.to(self.device),
            states_BTD,
            added_cond_kwargs={"text_embeds": pooled_BD, "time_ids": time_ids_B6},
        ).sample
        target_B4HW = target(self.schedule, latents_B4HW, noise_B4HW, steps_B).to(self.device)
        return F.mse_loss(v_B4HW, target_B4HW) + self.weight * head.loss(maps_BHW)


def train(
    cfg: Config,
    name: str,
    unet: UNet2DConditionModel,
    head: ClassMapHead,
    samples: TrainingSamples,
    *,
    batch: int,
    steps: int,
    ema: float,
    work: Path,
    made_from: Sequence[Any],
) -> list[float]:
    """Train UNet and head on batches of `samples`, after which the head lets go of the UNet; returns the losses.

    `name` names the stream of batches. `work` takes checkpoints, which are taken up where `made_from`, all that samples
    and first weights come from, is the same. 0 < `ema` < 1 leaves averaged weights.
    """
    batches = Batches(cfg, name, samples, batch)

    def loss_at(step: int) -> Tensor:
        return batches.loss(unet, head, step)

    losses = training.train(
        name,
        [*unet.parameters(), *head.parameters()],
        loss_at,
        steps=steps,
        lr=cfg.base.lr,
        work=work,
        ema_decay=ema,
        settings=[batch, cfg.base.class_map, cfg.run.seed, *made_from],
    )
    head.release()
    return losses


def save(folder: Path, unet: UNet2DConditionModel, head: ClassMapHead, latents: Tensor) -> None:
    """Leave a UNet for further training: `unet/`, its head, and the latents (N, 4, h, w) that it learns from."""
    unet.to("cpu").save_pretrained(folder / UNET)
    save_file({name: value.cpu().contiguous() for name, value in head.state_dict().items()}, folder / CLASS_HEAD)
    save_file({"latents": latents.contiguous()}, folder / LATENTS)


def load(folder: Path, device: torch.device) -> tuple[UNet2DConditionModel, ClassMapHead, Tensor]:
    """What `save` left, ready to be trained."""
    unet = UNet2DConditionModel.from_pretrained(folder / UNET).train()
    unet.to(device, memory_format=torch.channels_last)
    weights = load_file(folder / CLASS_HEAD)
    head = ClassMapHead(unet, len(weights["logits.weight"]) - 1)
    head.load_state_dict(weights)
    return unet, head.to(device), load_file(folder / LATENTS)["latents"]


def in_words(losses: Sequence[float]) -> str:
    """The end of a training in words; nothing where there was nothing left to train."""
    last = losses[-max(len(losses) // 10, 1) :]
    return f"mean loss of the last tenth: {sum(last) / len(last):.4f}" if last else ""
