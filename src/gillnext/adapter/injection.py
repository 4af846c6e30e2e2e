"""An adapter's place in a UNet: what keeps boxes felt when somebody else changes the UNet's attention.

diffusers' switches (`enable_attention_slicing`, `fuse_qkv_projections`, `load_ip_adapter`, `set_attn_processor` …) put
processors of their own where the grounded ones were, and such processors ignore boxes. So the UNet looks before every
forward with boxes. Where a processor is another's, the grounded term is added behind the whole layer instead:

    Attn' + W_o·A   for   W_o·(Attn + A),   equal but for rounding, because the output projection is linear.

What cannot be right (boxes of another batch or size) is an error and no picture.

Letters: B batch, P pixels, C width of what enters a layer, I inner width of its attention, h × w cells of the latents.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import Tensor, nn

from gillnext.adapter.grounding import Grounding
from gillnext.adapter.processors import Grounded, Ungrounded
from gillnext.runtime.errors import UserError

# The arguments of a UNet's forward, by place.
PLACES = tuple(inspect.signature(UNet2DConditionModel.forward).parameters)[1:]
OURS = (Grounded, Ungrounded, AttnProcessor2_0)  # AttnProcessor2_0 computes what `Ungrounded` does


@dataclass
class Place:
    """One attention layer with the processor that the adapter wants there, and its grounded layer, if it has one."""

    injection: Injection
    name: str
    attn: Attention
    processor: Any
    layer: nn.Module | None

    def add(self, attn: Attention, args: tuple[Any, ...], keywords: dict[str, Any], out_BPC: Tensor) -> Tensor | None:
        """Behind a layer with another's processor: its output with the grounded term."""
        grounding = self.injection.diverted
        if grounding is None or self.layer is None:
            return None
        entered_BPC = args[0] if args else keywords["hidden_states"]
        term_BPI = self.layer(attn.to_q(entered_BPC), grounding)
        projected = attn.to_out[0]  # called, for its weights may lie elsewhere, or have a LoRA
        return (
            out_BPC + (projected(term_BPI) - projected(torch.zeros_like(term_BPI[:1, :1]))) / attn.rescale_output_factor
        )


class Injection:
    """Keeps an adapter's layers at work in `unet`; hooks that `remove` takes off."""

    def __init__(self, adapter: nn.Module, unet: UNet2DConditionModel) -> None:
        self.adapter, self.places = adapter, list[Place]()
        self.diverted: Grounding | None = None  # of a forward whose processors are not all the adapter's
        self.handles = [
            unet.register_forward_pre_hook(self.before, with_kwargs=True),
            unet.register_forward_hook(self.after, always_call=True),
        ]
        self.diverts = False

    def put(self, name: str, attn: Attention, layer: nn.Module | None) -> None:
        """Ground one attention layer, or let boxes pass it by; another's processor stays where it is."""
        place = Place(self, name, attn, Grounded(layer) if layer is not None else Ungrounded(), layer)
        self.places.append(place)
        if isinstance(attn.processor, OURS):
            attn.set_processor(place.processor)

    def remove(self) -> None:
        """diffusers' default processors in the adapter's places; the hooks come off."""
        for handle in self.handles:
            handle.remove()
        for place in self.places:
            if isinstance(place.attn.processor, (Grounded, Ungrounded)):
                place.attn.set_processor(AttnProcessor2_0())

    def before(self, unet: Any, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        """Before a forward: check its boxes, and lead them past processors that would ignore them."""
        given = dict(zip(PLACES, args, strict=False)) | keywords
        passed = given.get("cross_attention_kwargs") or {}
        if "grounding" not in passed:
            return None
        _check(passed, given["sample"])
        for place in self.places:
            if type(place.attn.processor) is AttnProcessor2_0:  # the default, which another's switch has put back
                place.attn.set_processor(place.processor)
        if all(place.attn.processor is place.processor for place in self.places):
            return None
        if unet.training and unet.is_gradient_checkpointing and torch.is_grad_enabled():
            others = {type(place.attn.processor).__name__ for place in self.places} - {"Grounded", "Ungrounded"}
            remedy = "attach the adapter to a UNet with its own processors"
            raise UserError("these processors cannot be recomputed with boxes", where=", ".join(others), remedy=remedy)
        self.diverted = passed["grounding"]
        if not self.diverts:
            self.handles += [p.attn.register_forward_hook(p.add, with_kwargs=True) for p in self.places if p.layer]
            self.diverts = True
        rest = {name: value for name, value in passed.items() if name != "grounding"}
        return (), given | {"cross_attention_kwargs": rest or None}

    def after(self, *_: Any) -> None:
        self.diverted = None


def _check(passed: dict[str, Any], sample_BChw: Tensor) -> None:
    """`UserError` where boxes are not those of this batch of latents."""
    grounding = passed["grounding"]
    tokens = passed["gligen"]["objs"] if grounding is None else grounding.tokens_BND
    where = "cross_attention_kwargs"
    if len(tokens) != len(sample_BChw):
        raise UserError(
            f"boxes of {len(tokens)} samples for a batch of {len(sample_BChw)}",
            where=where,
            remedy="call the pipeline with layouts=…, which pairs them, or make grounding(layouts, guided=True) where "
            "the guidance scale is above 1: the batch has an unguided half",
        )
    size = tuple(sample_BChw.shape[-2:])
    if grounding is not None and tuple(grounding.size) != size:
        raise UserError(
            "boxes on latents of {} × {} cells, for latents of {} × {}".format(*grounding.size, *size),
            where=where,
            remedy="give the pictures' size to grounding as well, or call the pipeline with layouts=…",
        )


def of(unet: Any) -> Injection | None:
    """The injection in a UNet, compiled or not; None without one."""
    return getattr(unet, "injection", None)


def attentions(unet: UNet2DConditionModel) -> dict[str, Attention]:
    """The UNet's attention layers by module name, in diffusers' order."""
    names = [name.removesuffix(".processor") for name in unet.attn_processors]
    return {name: unet.get_submodule(name) for name in names}
