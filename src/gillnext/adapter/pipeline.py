"""The grounded pipeline: Kolors (or SDXL) with the spatial adapter and the layout planner.

    pipeline = GroundedKolorsPipeline.from_folders(base, adapter)
    pipeline.planner = Planner.from_pretrained(planner)
    pictures, layouts = pipeline.draw(["左边是一棵树，右边是一座房子"])

Classifier-free guidance pairs each sample with one that has neither caption nor boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import KolorsPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from torch import Tensor

from gillnext.adapter.grounding import pad
from gillnext.adapter.model import SpatialAdapter
from gillnext.adapter.phrases import PhraseTable, text_length
from gillnext.layouts import MAX_BOXES, Layout
from gillnext.runtime import seeds

UNET = "unet"  # in an adapter's folder: the UNet that was trained with it


class GroundedMixin:
    """What grounding adds to a diffusers pipeline. `adapter` may be None, and `planner`, which makes layouts of
    captions (`gillnext.planner.model.Planner`).
    """

    adapter: SpatialAdapter | None = None
    planner: Any = None

    @classmethod
    def from_folders(
        cls, base: Path | str, adapter: Path | str | None = None, device: str = "cpu", **parts: Any
    ) -> Any:
        """The pipeline from `save_pretrained` folders (or hub ids of the base); `parts` stand in for the base's own,
        and None leaves one out.
        """
        if adapter and (Path(adapter) / UNET).exists():
            parts["unet"] = UNet2DConditionModel.from_pretrained(Path(adapter) / UNET)
        pipeline = cls.from_pretrained(base, **parts).to(device)  # type: ignore[attr-defined]
        pipeline.set_progress_bar_config(disable=True)
        for model in (pipeline.unet, pipeline.vae):
            model.to(memory_format=torch.channels_last)  # which portable convolutions need not turn first
        if adapter:
            pipeline.attach(SpatialAdapter.from_pretrained(adapter).eval().to(device))
        return pipeline

    @property
    def image_size(self) -> int:
        """Pixels a side of what the pipeline draws."""
        return self.unet.config.sample_size * self.vae_scale_factor  # type: ignore[attr-defined]

    def attach(self, adapter: SpatialAdapter) -> None:
        """Inject `adapter` into the UNet."""
        adapter.inject(self.unet)  # type: ignore[attr-defined]
        self.adapter, self.table = adapter, PhraseTable(self, MAX_BOXES)  # type: ignore[arg-type]

    def grounding(self, layouts: Sequence[Layout], guided: bool) -> dict[str, Any] | None:
        """`cross_attention_kwargs` of a batch, the unguided half first where `guided`."""
        if self.adapter is None:
            return None
        device = self.unet.device  # type: ignore[attr-defined]
        boxes, real = (part.to(device) for part in pad([layout.boxes for layout in layouts]))  # boxes stay float32
        phrases = self.table([layout.names for layout in layouts])
        dropped = torch.zeros(len(layouts), dtype=torch.bool, device=device)
        if guided:
            boxes, real, phrases = (torch.cat([x, x]) for x in (boxes, real, phrases))
            dropped = torch.cat([~dropped, dropped])
        size = self.unet.config.sample_size  # type: ignore[attr-defined]
        return self.adapter.keywords(self.adapter(boxes, phrases, real, (size, size), dropped))

    def noise(self, keys: Sequence[tuple[str | int, ...]]) -> Tensor:
        """Initial noise, one named random stream a sample, whatever the batch."""
        shape = (self.unet.config.in_channels, *(self.unet.config.sample_size,) * 2)  # type: ignore[attr-defined]
        return torch.stack([torch.randn(shape, generator=seeds.torch_generator("noise", *key)) for key in keys])

    @torch.no_grad()
    def draw(
        self,
        captions: Sequence[str],
        layouts: Sequence[Layout] | None = None,
        *,
        keys: Sequence[tuple[str | int, ...]] | None = None,
        steps: int = 20,
        guidance: float = 3.0,
        output_type: str = "np",
    ) -> tuple[Any, list[Layout]]:
        """Pictures (N, H, W, 3) in [0, 1] of `captions`, and the layouts that they follow.

        Without `layouts` the planner makes them. `keys` name each sample's noise; by default its position.
        """
        if layouts is None:
            layouts = self.planner.plan(list(captions)) if self.planner else [Layout(c, (), ()) for c in captions]
        noise = self.noise(keys or [(i,) for i in range(len(captions))])
        result = self(  # type: ignore[operator]
            prompt=list(captions),
            negative_prompt=[""] * len(captions),
            latents=noise.to(self.device, self.unet.dtype),  # type: ignore[attr-defined]
            num_inference_steps=steps,
            guidance_scale=guidance,
            cross_attention_kwargs=self.grounding(layouts, guidance > 1),
            output_type=output_type,
        )
        return result.images, list(layouts)


class GroundedKolorsPipeline(GroundedMixin, KolorsPipeline):
    """Kolors with boxes."""

    def encode_prompt(self, *args: Any, **settings: Any) -> Any:
        """diffusers' own at the tokenizer's length: `KolorsPipeline.__call__` takes 256 tokens whatever it is told."""
        return super().encode_prompt(*args, **{"max_sequence_length": text_length(self)} | settings)


class GroundedSDXLPipeline(GroundedMixin, StableDiffusionXLPipeline):
    """SDXL with boxes."""
