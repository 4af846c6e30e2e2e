"""Fills a box of a picture by a text, whatever the base: what is known is kept.

| folder | how a box is filled |
|---|---|
| Kolors, SDXL; 4 channels | the known latents, noised as far as each step is, are put back after every step (RePaint) |
| Kolors, SDXL; 9 channels | the UNet is given mask and masked picture beside the noise (Rombach et al., 2022) |
| `StableDiffusionInpaintPipeline`, `StableDiffusionXLInpaintPipeline` | as diffusers' own call does |

    inpainter = load(folder)
    pictures = inpainter.fill(sources, boxes, ["一只猫", …], [""], keys=[(0,), …])

Letters: N pictures, H and W pixels, C channels, h and w cells of the latents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gillnext.adapter import folders
from gillnext.adapter import pipeline as grounded
from gillnext.diffusion import latents as latents_
from gillnext.diffusion.objective import size_conditions
from gillnext.layouts import Box
from gillnext.regions import crops, masks
from gillnext.runtime import seeds
from gillnext.runtime.errors import UserError

Keys = Sequence[tuple[str | int, ...]]
PUBLISHED = ("StableDiffusionInpaintPipeline", "StableDiffusionXLInpaintPipeline")
CHANNELS = (4, 9)  # of a UNet that fills: a base's own, or with mask and masked picture beside them


@dataclass(frozen=True)
class Filling:
    """How boxes are filled: the sampler's `steps` and `guidance`; `feather` pixels of the seam; of a square about the
    box (`crops.square`) that is drawn at `side` pixels, the pipeline's own where None.
    """

    steps: int = 20
    guidance: float = 3.0
    feather: int = 1
    crop: float = 0.0
    side: int | None = None


class Inpainter:
    """A base that fills boxes. `unet` is a UNet with 9 channels in the place of the base's own, if there is one."""

    def __init__(self, pipeline: Any, how: Filling, unet: Any = None) -> None:
        self.pipeline, self.how = pipeline, how
        self.unet = unet if unet is not None else pipeline.unet
        self.channels = self.unet.config.in_channels
        if self.channels not in CHANNELS:
            raise UserError(f"a UNet of {self.channels} channels", remedy="one of 4 (a base) or 9 (an inpainting UNet)")

    @torch.no_grad()
    def fill(
        self, sources: np.ndarray, boxes: Sequence[Box], prompts: Sequence[str], negatives: Sequence[str], keys: Keys
    ) -> np.ndarray:
        """Pictures (N, H, W, 3) uint8 of `sources` (N, H, W, 3) uint8 with each one's box filled by its prompt.

        Guidance leads away from `negatives`; `keys` name each picture's noise. Pixels outside the box keep their value.
        """
        size, side = sources.shape[1:3], self.how.side or self.own_side
        squares = [crops.square(box, size, self.how.crop) for box in boxes]
        cuts = np.stack([crops.cut(one, where, side) for one, where in zip(sources, squares, strict=True)])
        inner = [crops.within(box, where, size) for box, where in zip(boxes, squares, strict=True)]
        masks_NHW = np.stack([masks.mask(box, (side, side)) for box in inner])
        drawn = self._fill(cuts, masks_NHW, prompts, negatives, keys)
        filled = [crops.put(one, new, where) for one, new, where in zip(sources, drawn, squares, strict=True)]
        return masks.compose(sources, np.stack(filled), boxes, self.how.feather)

    @property
    def own_side(self) -> int:
        """Pixels a side that the pipeline draws by itself."""
        return self.pipeline.unet.config.sample_size * self.pipeline.vae_scale_factor

    def _fill(
        self, sources: np.ndarray, masks_NHW: np.ndarray, prompts: Sequence[str], negatives: Sequence[str], keys: Keys
    ) -> np.ndarray:
        pipeline, size = self.pipeline, (sources.shape[1], sources.shape[2])
        device, dtype = pipeline._execution_device, self.unet.dtype
        known = latents_.encode(pipeline.vae, sources).to(device, dtype)  # (N, 4, h, w)
        noise = self._noise(keys, known.shape[1:]).to(device, dtype)
        mask = torch.from_numpy(masks_NHW)[:, None].to(device, dtype)
        cells = torch.nn.functional.adaptive_max_pool2d(mask, known.shape[-2:])  # a cell that is touched is filled
        scheduler = pipeline.scheduler
        scheduler.set_timesteps(self.how.steps, device=device)
        ends = [*scheduler.timesteps[1:], None]  # the noise that is left after each step

        def keep(_: Any, step: int, __: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
            left = ends[step]
            real = known if left is None else scheduler.add_noise(known, noise, left.expand(len(known)))
            return {"latents": torch.where(cells > 0, tensors["latents"], real)}

        beside = self._beside(sources, masks_NHW, cells) if self.channels == 9 else None
        first = scheduler.timesteps[0].expand(len(known))
        begun = torch.where(cells > 0, noise, scheduler.add_noise(known, noise, first) / scheduler.init_noise_sigma)
        own, pipeline.unet = pipeline.unet, _With(self.unet, beside) if beside is not None else self.unet
        try:
            images = pipeline(
                prompt=list(prompts), negative_prompt=list(negatives), latents=begun, height=size[0], width=size[1],
                num_inference_steps=self.how.steps, guidance_scale=self.how.guidance, output_type="np",
                callback_on_step_end=keep, callback_on_step_end_tensor_inputs=["latents"], **_told(size),
            ).images  # fmt: skip
        finally:
            pipeline.unet = own
        return (images * 255).round().astype(np.uint8)

    def _noise(self, keys: Keys, shape: Sequence[int]) -> Tensor:
        return torch.stack([torch.randn(*shape, generator=seeds.torch_generator("inpaint", *key)) for key in keys])

    def _beside(self, sources: np.ndarray, masks_NHW: np.ndarray, cells: Tensor) -> Tensor:
        """Mask and latents of the masked picture (N, 5, h, w), as the UNet of 9 channels is given them."""
        return torch.cat([cells, masked_latents(self.pipeline.vae, sources, masks_NHW).to(cells)], 1)


def conditions(side: int) -> Tensor:
    """The size conditions (6,) that a square of `side` pixels is drawn with: a whole picture of that size."""
    return size_conditions(1, side)[0]


def _told(size: tuple[int, int]) -> dict[str, Any]:
    """The same as arguments of the pipeline's call."""
    return {"original_size": size, "target_size": size, "crops_coords_top_left": (0, 0)}


def masked_latents(vae: Any, sources: np.ndarray, masks_NHW: np.ndarray) -> Tensor:
    """Latents (N, 4, h, w) of pictures (N, H, W, 3) uint8 that are mid-grey where their mask is 1."""
    grey = np.where(masks_NHW[..., None] > 0, np.uint8(128), sources)
    return latents_.encode(vae, grey)


class _With:
    """A UNet that is handed `beside` (N, 5, h, w) with every latent; what else is asked of it, it answers itself."""

    def __init__(self, unet: Any, beside: Tensor) -> None:
        self.unet, self.beside = unet, beside

    def __call__(self, sample: Tensor, *args: Any, **settings: Any) -> Any:
        times = len(sample) // len(self.beside)
        return self.unet(torch.cat([sample, self.beside.repeat(times, 1, 1, 1)], 1), *args, **settings)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.unet, name)


class Published(Inpainter):
    """diffusers' own inpainting pipelines, of Stable Diffusion and SDXL."""

    def _fill(
        self, sources: np.ndarray, masks_NHW: np.ndarray, prompts: Sequence[str], negatives: Sequence[str], keys: Keys
    ) -> np.ndarray:
        pixels = torch.from_numpy(sources).permute(0, 3, 1, 2).float() / 255
        images = self.pipeline(
            prompt=list(prompts), negative_prompt=list(negatives), image=pixels,
            mask_image=torch.from_numpy(masks_NHW)[:, None], height=sources.shape[1], width=sources.shape[2],
            strength=1.0, num_inference_steps=self.how.steps, guidance_scale=self.how.guidance, output_type="np",
            generator=[seeds.torch_generator("inpaint", *key) for key in keys],
        ).images  # fmt: skip
        return (images * 255).round().astype(np.uint8)


def published(folder: Path, device: str, dtype: torch.dtype | None) -> Any:
    """One of diffusers' inpainting pipelines, of safetensors alone, without the safety checker."""
    import diffusers

    kind = getattr(diffusers, files_class(folder))
    without = {"safety_checker": None, "requires_safety_checker": False} if kind.__name__ == PUBLISHED[0] else {}
    pipeline = kind.from_pretrained(
        folder, variant=folders.variant(folder), dtype=dtype or torch.float32, use_safetensors=True,
        local_files_only=True, **without,
    ).to(device)  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def files_class(folder: Path) -> str:
    """The pipeline's class that a folder names; `UserError` where it names none."""
    return str(folders.index_of(folder).get("_class_name", ""))


def load(
    base: Path,
    how: Filling,
    inpainting: Path | None = None,
    device: str = "cpu",
    dtype: torch.dtype | None = None,
) -> Inpainter:
    """The inpainter of a folder: a base, or one of diffusers' inpainting pipelines; with the UNet of 9 channels of the
    folder `inpainting` (`gillnext inpainting`) in the base's place. `UserError` where a folder holds neither.
    """
    if files_class(base) in PUBLISHED:
        return Published(published(base, device, dtype), how)
    pipeline = grounded.load(base, None, device, dtype)
    unet = None
    if inpainting is not None:
        from diffusers import UNet2DConditionModel

        unet = UNet2DConditionModel.from_pretrained(
            inpainting, dtype=dtype or torch.float32, use_safetensors=True, local_files_only=True
        )
        unet = unet.to(device, memory_format=torch.channels_last).eval()
    return Inpainter(pipeline, how, unet)
