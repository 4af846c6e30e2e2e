"""Pictures, captions and names to what an adapter is trained on, by the frozen parts of its base.

The base is a folder of Kolors' or SDXL's class. Captions and the empty caption get the states that the pipeline's own
`encode_prompt` gives them, as in sampling.

Letters: N pictures or captions, T tokens, D width of the text states, P of the pooled ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline
from torch import Tensor

from gillnext.adapter import buckets, folders, phrases
from gillnext.adapter.cache import Base
from gillnext.diffusion import chatglm, latents
from gillnext.runtime import contents

BATCH = 16  # pictures or captions at a time


class Encoder:
    """The frozen parts of the base in `folder`, on `device`, with weights of the type `dtype`; but those of an
    autoencoder that overflows in half precision (`force_upcast`: SDXL's and Kolors') in float32.
    """

    def __init__(self, folder: Path, device: str, dtype: torch.dtype) -> None:
        kind = folders.class_of(folder)
        settings: dict[str, Any] = {"local_files_only": True, "dtype": dtype, "use_safetensors": True}
        settings["variant"] = folders.variant(folder)
        self.pipeline = DiffusionPipeline.from_pretrained(folder, **settings).to(device)
        if self.pipeline.vae.config.force_upcast and self.pipeline.vae.dtype != torch.float32:
            self.pipeline.vae.to(torch.float32)
        self.kolors, unet, factor = kind == "KolorsPipeline", self.pipeline.unet.config, self.pipeline.vae_scale_factor
        self.buckets = buckets.of_base(unet.sample_size, len(unet.block_out_channels), factor)
        side = unet.sample_size * factor
        self.base = Base(kind, side, unet.in_channels, unet.cross_attention_dim, contents.sha256(folder))

    def latents(self, images: np.ndarray) -> Tensor:
        """Scaled latents (N, C, h, w), float32, of pictures (N, H, W, 3) uint8."""
        return latents.encode(self.pipeline.vae, images, BATCH)

    def captions(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """States (N, T, D) and pooled states (N, P), float32, as the UNet gets them in sampling."""
        if self.kolors:
            length = phrases.text_length(self.pipeline)
            return chatglm.states(self.pipeline.tokenizer, self.pipeline.text_encoder, texts, length, BATCH)
        found = []
        for i in range(0, len(texts), BATCH):
            states, _, pooled, _ = self.pipeline.encode_prompt(
                list(texts[i : i + BATCH]), do_classifier_free_guidance=False
            )
            found.append((states.float().cpu(), pooled.float().cpu()))
        return torch.cat([states for states, _ in found]), torch.cat([pooled for _, pooled in found])

    def nothing(self) -> tuple[Tensor, Tensor]:
        """States (T, D) and pooled states (P,) of what guidance pairs a sample with: of the empty caption, or zeros
        where the pipeline says so (`GroundedSDXLPipeline.negatives`).
        """
        states, pooled = self.captions([""])
        if not self.kolors and self.pipeline.config.force_zeros_for_empty_prompt:
            states, pooled = torch.zeros_like(states), torch.zeros_like(pooled)
        return states[0], pooled[0]

    def phrase(self, name: str) -> Tensor:
        """The embedding (C,) of an object's name, float32; each alone, as batches of other sizes round otherwise."""
        return phrases.embed(self.pipeline, [name])[0].float().cpu()
