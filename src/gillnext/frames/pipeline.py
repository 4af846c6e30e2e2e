"""The pipeline of InstructPix2Pix over frames, which saves and loads as diffusers' do.

    pipeline = FramesPipeline.from_pretrained("results/demo/supplement/pix2pix/20")
    picture = pipeline("让猫接着移动", frames).images[0]                 # frames: 20 PIL pictures

Guidance has a scale for the frames and one for the instruction (Brooks et al., 2023, eq. 3), with I the frames' latents
and T the instruction's states:

    ẽ(z, I, T) = e(z, ∅, ∅) + s_I (e(z, I, ∅) − e(z, ∅, ∅)) + s_T (e(z, I, T) − e(z, I, ∅)).

A term whose factor is 0 is not computed: equal scales take two passes instead of three, scales of 1 take one.

Letters: N clips, F frames, C latent channels, h and w their rows and columns; T tokens, D width, P pooled width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from diffusers import AutoencoderKL, DiffusionPipeline, UNet2DConditionModel
from diffusers.pipelines.pipeline_utils import ImagePipelineOutput
from diffusers.schedulers import KarrasDiffusionSchedulers
from einops import rearrange
from PIL import Image
from torch import Tensor

from gillnext.diffusion import latents as codec
from gillnext.diffusion.objective import size_conditions
from gillnext.frames import text
from gillnext.frames.augment import Augmentation
from gillnext.frames.grow import frames_of
from gillnext.runtime import seeds
from gillnext.runtime.errors import UserError

Key = tuple[str | int, ...]


def terms(text_guidance: float, image_guidance: float) -> dict[str, float]:
    """The factors of the three predictions: of neither condition, of the frames, of frames and instruction."""
    found = {"none": 1 - image_guidance, "frames": image_guidance - text_guidance, "both": text_guidance}
    return {name: factor for name, factor in found.items() if factor}


@torch.no_grad()
def modes(vae: AutoencoderKL, images: np.ndarray, batch: int = 42) -> Tensor:
    """Latents as they come out of the encoder, (N, C, h, w), float32, not scaled, of uint8 pictures (N, H, W, 3)."""
    like = next(vae.parameters())
    parts = [
        vae.encode(codec.to_tensor(images[i : i + batch]).to(like)).latent_dist.mode().float().cpu()
        for i in range(0, len(images), batch)
    ]
    return torch.cat(parts)


def scale(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    """Latents as the diffusion model has them, of those that come out of the encoder; (…, C, h, w)."""
    mean, deviation = (getattr(vae.config, name, None) for name in ("latents_mean", "latents_std"))
    if mean is not None and deviation is not None:
        mean, deviation = (torch.tensor(part).view(-1, 1, 1).to(latents) for part in (mean, deviation))
        latents = (latents - mean) / deviation
    return latents * vae.config.scaling_factor


class FramesPipeline(DiffusionPipeline):
    """An autoencoder, a text encoder with its tokenizer, a UNet that reads noisy latents and those of frames, and a
    sampler. `scaled`: whether the frames' latents are scaled, which InstructPix2Pix does not.
    """

    model_cpu_offload_seq = "text_encoder->unet->vae"
    _optional_components: ClassVar = ["text_encoder", "tokenizer"]

    def __init__(
        self,
        vae: AutoencoderKL,
        text_encoder: Any,
        tokenizer: Any,
        unet: UNet2DConditionModel,
        scheduler: KarrasDiffusionSchedulers,
        scaled: bool = False,
    ) -> None:
        super().__init__()
        self.register_modules(vae=vae, text_encoder=text_encoder, tokenizer=tokenizer, unet=unet, scheduler=scheduler)
        self.register_to_config(scaled=scaled)

    @property
    def frames(self) -> int:
        """Frames that the UNet reads."""
        return frames_of(self.unet)

    @property
    def factor(self) -> int:
        """Pixels a cell of the latents."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    @property
    def side(self) -> int:
        """Pixels a side of the pictures."""
        return self.unet.config.sample_size * self.factor

    def conditions(self, modes_NFChw: Tensor) -> Tensor:
        """What the UNet reads of frames: their latents, scaled only where the pipeline says so, (N, F·C, h, w)."""
        found = scale(self.vae, modes_NFChw) if self.config.scaled else modes_NFChw
        return rearrange(found, "N F C h w -> N (F C) h w")

    def added(self, pooled_NP: Tensor | None) -> dict[str, Tensor] | None:
        """What UNets of SDXL's kind are told beside the text: the pooled state, and the size."""
        if pooled_NP is None:
            return None
        ids = size_conditions(len(pooled_NP), self.side).to(pooled_NP)
        return {"text_embeds": pooled_NP, "time_ids": ids}

    def predict(self, noisy_NChw: Tensor, t: Tensor, frames: Tensor, states: Tensor, pooled: Tensor | None) -> Tensor:
        """The UNet's prediction, (N, C, h, w)."""
        joined = torch.cat([noisy_NChw, frames], 1)  # (N, C + F·C, h, w)
        return self.unet(joined, t, states, added_cond_kwargs=self.added(pooled)).sample

    def encode(self, texts: Sequence[str]) -> tuple[Tensor, Tensor | None]:
        """States (N, T, D) and pooled states (N, P) or None, of instructions; each text alone decides its own."""
        return text.encode(self.tokenizer, self.text_encoder, texts)

    def noise(self, keys: Sequence[Key]) -> Tensor:
        """Initial noise, one named random stream a clip, whatever the batch."""
        shape = (self.unet.config.out_channels, self.unet.config.sample_size, self.unet.config.sample_size)
        return torch.stack([torch.randn(shape, generator=seeds.torch_generator("noise", *key)) for key in keys])

    @torch.no_grad()
    def draw(
        self,
        modes_NFChw: Tensor,
        states: tuple[Tensor, Tensor | None],
        nothing: tuple[Tensor, Tensor | None],
        keys: Sequence[Key],
        *,
        steps: int,
        text_guidance: float,
        image_guidance: float,
    ) -> Tensor:
        """Scaled latents (N, C, h, w) of the targets. `modes_NFChw` are the frames' latents as the encoder gives them,
        `nothing` the states of the empty instruction, (1, T, D) and (1, P), `keys` the names of each clip's noise.
        """
        device, dtype, count = self.unet.device, self.unet.dtype, len(modes_NFChw)
        frames, given = self.conditions(modes_NFChw).to(device, dtype), terms(text_guidance, image_guidance)
        empty = [None if part is None else part.expand(count, *part.shape[1:]) for part in nothing]
        told = {"none": (torch.zeros_like(frames), *empty), "frames": (frames, *empty), "both": (frames, *states)}
        read, texts, pooled = zip(*(told[name] for name in given), strict=True)
        condition, text_states = torch.cat(read), torch.cat(texts).to(device, dtype)
        pooled_states = None if states[1] is None else torch.cat(pooled).to(device, dtype)
        self.scheduler.set_timesteps(steps, device=device)
        sample = self.noise(keys).to(device, dtype) * self.scheduler.init_noise_sigma
        for t in self.scheduler.timesteps:
            seen = self.scheduler.scale_model_input(torch.cat([sample] * len(given)), t)
            parts = self.predict(seen, t, condition, text_states, pooled_states).chunk(len(given))
            guided = sum(factor * part for factor, part in zip(given.values(), parts, strict=True))
            sample = self.scheduler.step(guided, t, sample).prev_sample
        return sample.float()

    def pictures(self, latents_NChw: Tensor) -> np.ndarray:
        """Pictures (N, H, W, 3) uint8 of scaled latents."""
        return codec.decode(self.vae, latents_NChw)

    def __call__(
        self,
        prompt: str,
        image: Sequence[Image.Image],
        num_inference_steps: int = 20,
        guidance_scale: float = 7.5,
        image_guidance_scale: float = 1.5,
        seed: int = 0,
        output_type: str = "pil",
    ) -> ImagePipelineOutput:
        """What the instruction `prompt` makes of the frames `image`, all of one size: the largest square in their
        middle. `UserError` where the frames are not as many as the UNet reads, or the prompt is none that it can read.
        """
        if len(image) != self.frames:
            what = f"{len(image)} frames; the model reads {self.frames}"
            raise UserError(what, where="frames", remedy="the frames that it was trained with, in order")
        text.refuse_unread(self.tokenizer, prompt)
        pixels = Augmentation()([one.convert("RGB") for one in image], self.side)  # (F, H, W, 3)
        found = self.draw(
            modes(self.vae, pixels)[None], self.encode([prompt]), self.encode([""]), [("edit", seed)],
            steps=num_inference_steps, text_guidance=guidance_scale, image_guidance=image_guidance_scale,
        )  # fmt: skip
        pictures = self.pictures(found)
        images = [Image.fromarray(one) for one in pictures] if output_type == "pil" else pictures
        return ImagePipelineOutput(images=images)
