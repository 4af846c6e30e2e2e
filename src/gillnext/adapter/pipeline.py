"""The grounded pipelines: Kolors or SDXL with the spatial adapter and the layout planner.

    pipeline = load(base, adapter)
    pipeline.planner = Planner.from_pretrained(planner)
    pictures, layouts = pipeline.draw(["左边是一棵树，右边是一座房子"])

They are diffusers pipelines, with the adapter as one more component: `to`, offloading and `save_pretrained` take it
along, and a call with `layouts` draws boxes. Classifier-free guidance pairs each sample with one that has neither
caption nor boxes.

Letters: N pictures, T caption tokens, C and P widths of the text states and of the pooled ones.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from diffusers import AutoencoderKL, KolorsPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from diffusers.pipelines.kolors import ChatGLMModel, ChatGLMTokenizer
from diffusers.schedulers import KarrasDiffusionSchedulers
from torch import Tensor
from transformers import (
    CLIPImageProcessor,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionModelWithProjection,
)

from gillnext.adapter import folders, injection
from gillnext.adapter import local as local_
from gillnext.adapter.grounding import pad
from gillnext.adapter.model import SpatialAdapter
from gillnext.adapter.phrases import PhraseTable, text_length
from gillnext.layouts import MAX_BOXES, Layout
from gillnext.runtime import seeds
from gillnext.runtime.errors import UserError

UNET = "unet"  # in an adapter's folder: the UNet that was trained with it
NO_TEXT: dict[str, Any] = dict.fromkeys(("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"))

Size = tuple[int, int]  # height and width


class GroundedMixin:
    """What grounding adds to a diffusers pipeline. `adapter` may be None, and `planner`, which makes layouts of
    captions (`gillnext.planner.model.Planner`).
    """

    adapter: SpatialAdapter | None
    planner: Any = None
    unet: Any
    vae_scale_factor: int
    register_modules: Any
    _execution_device: torch.device
    _exclude_from_cpu_offload: ClassVar = ["adapter"]  # it is read by layers, between which nothing would bring it back

    @classmethod
    def from_folders(
        cls,
        base: Path | str,
        adapter: Path | str | None = None,
        device: str = "cpu",
        dtype: torch.dtype | None = None,
        **parts: Any,
    ) -> Any:
        """The pipeline from `save_pretrained` folders, in `dtype` (None: float32) whatever the files' precision.

        `parts` stand in for the base's own, and None leaves one out.
        """
        if adapter and (Path(adapter) / UNET).exists():
            parts["unet"] = UNet2DConditionModel.from_pretrained(
                Path(adapter) / UNET, dtype=dtype or torch.float32, use_safetensors=True, local_files_only=True
            )
        known = inspect.signature(cls.__init__).parameters
        parts = {name: part for name, part in parts.items() if name in known or part is not None}
        pipeline = cls.from_pretrained(  # type: ignore[attr-defined]
            base, variant=folders.variant(Path(base), leave=parts), dtype=dtype or torch.float32,
            use_safetensors=True, local_files_only=True, **parts,
        ).to(device)  # fmt: skip
        pipeline.set_progress_bar_config(disable=True)
        for model in (pipeline.unet, pipeline.vae):
            model.to(memory_format=torch.channels_last)  # which portable convolutions need not turn first
        if adapter:
            folders.check_adapter(Path(adapter), Path(base))
            trained = SpatialAdapter.from_pretrained(adapter, use_safetensors=True, local_files_only=True)
            pipeline.attach(trained.eval().to(dtype or torch.float32))
        return pipeline

    @property
    def image_size(self) -> int:
        """Pixels a side of what the pipeline draws, unless told otherwise."""
        return self.unet.config.sample_size * self.vae_scale_factor

    @property
    def factor(self) -> int:
        """Pixels that a picture's sides must be a multiple of: those of a cell of the UNet's coarsest level."""
        return self.vae_scale_factor * 2 ** (len(self.unet.config.block_out_channels) - 1)

    def latent_size(self, size: Size | None = None) -> Size:
        """Cells of the latents of a picture of `size` pixels (its own, None)."""
        height, width = size or (self.image_size, self.image_size)
        return height // self.vae_scale_factor, width // self.vae_scale_factor

    def attach(self, adapter: SpatialAdapter) -> None:
        """Inject `adapter` into the UNet, and take it to where the pipeline computes; its type stays its own."""
        adapter.to(self._execution_device)
        if (there := injection.of(self.unet)) is None or there.adapter is not adapter:
            adapter.inject(self.unet)
        self.register_modules(adapter=adapter)
        self.table = PhraseTable(self, MAX_BOXES)  # type: ignore[arg-type]

    def detach(self) -> None:
        """Take the adapter out of the UNet and of the pipeline."""
        SpatialAdapter.remove(self.unet)
        self.register_modules(adapter=None)

    def grounding(
        self, layouts: Sequence[Layout], guided: bool, size: Size | None = None, copies: int = 1
    ) -> dict[str, Any] | None:
        """`cross_attention_kwargs` of a batch of pictures of `size` pixels, each layout `copies` times, the unguided
        half first where `guided`. None without an adapter.
        """
        if self.adapter is None:
            return None
        if (there := injection.of(self.unet)) is None or there.adapter is not self.adapter:
            remedy = "call pipeline.attach(pipeline.adapter), or pipeline.detach() to draw without boxes"
            raise UserError("the adapter is not in this UNet", where="pipeline.unet", remedy=remedy)
        layouts = [layout for layout in layouts for _ in range(copies)]
        device, slots = self._execution_device, max([MAX_BOXES, *(len(layout.boxes) for layout in layouts)])
        boxes, real = (part.to(device) for part in pad([layout.boxes for layout in layouts], slots))  # float32
        phrases = self.table([layout.names for layout in layouts], slots)
        dropped = torch.zeros(len(layouts), dtype=torch.bool, device=device)
        if guided:
            boxes, real, phrases = (torch.cat([x, x]) for x in (boxes, real, phrases))
            dropped = torch.cat([~dropped, dropped])
        return self.adapter.keywords(self.adapter(boxes, phrases, real, self.latent_size(size), dropped))

    def noise(self, keys: Sequence[tuple[str | int, ...]], size: Size | None = None) -> Tensor:
        """Initial noise of pictures of `size` pixels, one named random stream a sample, whatever the batch."""
        shape = (self.unet.config.in_channels, *self.latent_size(size))
        return torch.stack([torch.randn(shape, generator=seeds.torch_generator("noise", *key)) for key in keys])

    def negatives(self, count: int) -> list[str] | None:
        """The captions that guidance leads away from: empty ones."""
        return [""] * count

    @torch.no_grad()
    def __call__(self, *args: Any, layouts: Sequence[Layout] | None = None, local: float = 0.0, **settings: Any) -> Any:
        """diffusers' own call; `layouts`, one a caption, are drawn by the adapter. In the first `local` share of the
        steps the pixels of a box attend to that box alone.
        """
        if layouts is None:
            return super().__call__(*args, **settings)  # type: ignore[misc]
        if self.adapter is None:
            remedy = "load it with its base: gillnext.adapter.pipeline.load(base, adapter)"
            raise UserError("the pipeline has no adapter, which draws boxes", where="layouts", remedy=remedy)
        bound = inspect.signature(super().__call__).bind(*args, **settings)  # type: ignore[misc]
        bound.apply_defaults()
        call = bound.arguments
        size = (call["height"] or self.image_size, call["width"] or self.image_size)
        if call["latents"] is not None:
            size = tuple(side * self.vae_scale_factor for side in call["latents"].shape[-2:])
        guided = call["guidance_scale"] > 1 and self.unet.config.time_cond_proj_dim is None
        boxes = self.grounding(layouts, guided, size, call["num_images_per_prompt"] or 1)
        settings["cross_attention_kwargs"] = (call["cross_attention_kwargs"] or {}) | (boxes or {})
        if local:
            settings |= local_.during((boxes or {}).get("grounding"), local, call)
        return super().__call__(*args, **settings)  # type: ignore[misc]

    def draw(
        self,
        captions: Sequence[str],
        layouts: Sequence[Layout] | None = None,
        *,
        keys: Sequence[tuple[str | int, ...]] | None = None,
        steps: int = 20,
        guidance: float = 3.0,
        size: Size | None = None,
        local: float = 0.0,
        embeds: tuple[Tensor, Tensor] | None = None,
        output_type: str = "np",
    ) -> tuple[Any, list[Layout]]:
        """Pictures (N, H, W, 3) in [0, 1] of `captions`, and the layouts that they follow.

        Without `layouts` the planner makes them; without an adapter the captions alone are drawn. `keys` name each
        sample's noise; by default its position. `size` is height and width in pixels, by default the pipeline's own.
        `local` is the share of the steps that are instance-local. `embeds`, text states (N, T, C) and pooled states
        (N, P), are drawn in place of the text encoder's of `captions`, which then serve the planner alone.
        """
        if layouts is None:
            layouts = self.planner.plan(list(captions)) if self.planner else [Layout(c, (), ()) for c in captions]
        size = size or (self.image_size, self.image_size)
        noise = self.noise(keys or [(i,) for i in range(len(captions))], size)
        prompt: dict[str, Any] = {"prompt": list(captions)}
        if embeds is not None:
            states_NTC, pooled_NP = (part.to(self._execution_device, self.unet.dtype) for part in embeds)
            prompt = {"prompt_embeds": states_NTC, "pooled_prompt_embeds": pooled_NP}
        result = self(
            **prompt,
            negative_prompt=self.negatives(len(captions)),
            latents=noise.to(self._execution_device, self.unet.dtype),
            height=size[0],
            width=size[1],
            num_inference_steps=steps,
            guidance_scale=guidance,
            layouts=None if self.adapter is None else layouts,
            local=local,
            output_type=output_type,
        )
        return result.images, list(layouts)


class GroundedKolorsPipeline(GroundedMixin, KolorsPipeline):
    """Kolors with boxes."""

    _optional_components: ClassVar = [*KolorsPipeline._optional_components, "adapter"]

    def __init__(
        self,
        vae: AutoencoderKL,
        text_encoder: ChatGLMModel,
        tokenizer: ChatGLMTokenizer,
        unet: UNet2DConditionModel,
        scheduler: KarrasDiffusionSchedulers,
        image_encoder: CLIPVisionModelWithProjection | None = None,
        feature_extractor: CLIPImageProcessor | None = None,
        adapter: SpatialAdapter | None = None,
        force_zeros_for_empty_prompt: bool = False,
    ) -> None:
        super().__init__(
            vae, text_encoder, tokenizer, unet, scheduler, image_encoder, feature_extractor,
            force_zeros_for_empty_prompt,
        )  # fmt: skip
        self.register_modules(adapter=None)
        if adapter is not None:
            self.attach(adapter)

    def encode_prompt(self, *args: Any, **settings: Any) -> Any:
        """diffusers' own at the tokenizer's length: `KolorsPipeline.__call__` takes 256 tokens whatever it is told."""
        return super().encode_prompt(*args, **{"max_sequence_length": text_length(self)} | settings)


class GroundedSDXLPipeline(GroundedMixin, StableDiffusionXLPipeline):
    """SDXL with boxes."""

    _optional_components: ClassVar = [*StableDiffusionXLPipeline._optional_components, "adapter"]

    def __init__(
        self,
        vae: AutoencoderKL,
        text_encoder: CLIPTextModel,
        text_encoder_2: CLIPTextModelWithProjection,
        tokenizer: CLIPTokenizer,
        tokenizer_2: CLIPTokenizer,
        unet: UNet2DConditionModel,
        scheduler: KarrasDiffusionSchedulers,
        image_encoder: CLIPVisionModelWithProjection | None = None,
        feature_extractor: CLIPImageProcessor | None = None,
        adapter: SpatialAdapter | None = None,
        force_zeros_for_empty_prompt: bool = True,
        add_watermarker: bool | None = None,
    ) -> None:
        super().__init__(
            vae, text_encoder, text_encoder_2, tokenizer, tokenizer_2, unet, scheduler, image_encoder,
            feature_extractor, force_zeros_for_empty_prompt, add_watermarker,
        )  # fmt: skip
        self.register_modules(adapter=None)
        if adapter is not None:
            self.attach(adapter)

    def negatives(self, count: int) -> list[str] | None:
        """Zeros in the place of the empty caption's states, where the base was trained so (its `model_index.json`)."""
        return None if self.config.force_zeros_for_empty_prompt else [""] * count


CLASSES: dict[str, Any] = {"KolorsPipeline": GroundedKolorsPipeline, "StableDiffusionXLPipeline": GroundedSDXLPipeline}


def load(
    base: Path | str,
    adapter: Path | str | None = None,
    device: str = "cpu",
    dtype: torch.dtype | None = None,
    **parts: Any,
) -> Any:
    """The grounded pipeline of the class that the folder `base` names, with the adapter of the folder `adapter`.

    `dtype` (None: float32) is that of all its models; the weights may lie in another precision or variant. `parts`
    stand in for the base's own, None leaves one out (`NO_TEXT`: all of the text side). `UserError` where the folder is
    no base.
    """
    return CLASSES[folders.class_of(Path(base))].from_folders(base, adapter, device, dtype, **parts)
