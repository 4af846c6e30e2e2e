"""Attention guidance: boxes for a base without an adapter and without any training.

Before a sampling step the latents move down the gradient of an energy that is small where the cross-attention of an
object's words lies in the object's box (Chen, Laina and Vedaldi, “Training-Free Layout Control with Cross-Attention
Guidance”, 2024, arXiv:2304.03373, eqs. 2–4; BoxDiff is of the same family):

    E = mean over objects of (1 − Σ_{p in box} A_p / Σ_p A_p)²,    z ← z − η·σ_t²·∇E

A is averaged over heads and over the object's tokens; E over the cross-attention layers of `guided.layers`. That
paper takes the mid block and the first up block with attention, maps of an eighth and a quarter of its latents' side.
Maps of four cells a side are too coarse for boxes: the demo takes its finest, half of the latents' side.

Letters: B batch, P pixels of an attention map, T caption tokens, H heads, D width of a head, N objects, C width of
what enters a layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import DPMSolverMultistepScheduler
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from einops import rearrange, reduce
from torch import Tensor

from gillnext.adapter import bias
from gillnext.adapter.grounding import halved
from gillnext.adapter.phrases import PREFIX, text_length
from gillnext.adapter.processors import heads_of, leave
from gillnext.config.model import Guided
from gillnext.layouts import Layout
from gillnext.runtime.errors import UserError


class Watched:
    """diffusers' attention with its probabilities kept, averaged over heads: `maps_BPT`."""

    maps_BPT: Tensor

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Tensor:
        """`hidden_states` (B, P, C) to the same shape; `encoder_hidden_states` (B, T, C). diffusers names them."""
        context_BTC = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        q_BHPD, k_BHTD, v_BHTD = heads_of(attn, attn.to_q(hidden_states), context_BTC)
        attention_BHPT = (q_BHPD @ k_BHTD.transpose(-1, -2) * attn.scale).softmax(-1)
        self.maps_BPT = reduce(attention_BHPT, "b h p t -> b p t", "mean")
        return leave(attn, rearrange(attention_BHPT @ v_BHTD, "b h p d -> b p (h d)"), hidden_states)


def watch(unet: Any, layers: Sequence[str]) -> list[Watched]:
    """Put `Watched` processors into the cross-attention of the blocks whose names begin as `layers` say."""
    names = [n for n in unet.attn_processors if n.startswith(tuple(layers)) and ".attn2." in n]
    if not names:
        blocks = sorted({n.partition(".attentions")[0] for n in unet.attn_processors})
        raise UserError(f"no cross-attention in {layers}", where="guided.layers", remedy=f"some of {', '.join(blocks)}")
    watched = {n: Watched() for n in names}
    unet.set_attn_processor({n: watched.get(n) or AttnProcessor2_0() for n in unet.attn_processors})
    return list(watched.values())


def token_places(pipeline: Any, caption: str, names: Sequence[str]) -> list[list[int]]:
    """The places in 0…T−1 of the tokens that overlap each name in `caption`; [] where it is not there.

    ChatGLM's captions stand at the end of their T tokens, CLIP's behind the one that starts them, without blanks and in
    small letters.
    """
    tokenizer, length = pipeline.tokenizer, text_length(pipeline)
    chatglm = hasattr(tokenizer, "get_prefix_tokens")
    pieces = [piece.replace("▁", "").removesuffix("</w>") for piece in tokenizer.tokenize(caption)]
    first = length - len(pieces) if chatglm else 1
    if len(pieces) + PREFIX > length:  # CLIP puts two around a text, as ChatGLM does before it
        return [[] for _ in names]
    ends = torch.tensor([len(piece) for piece in pieces]).cumsum(0).tolist()
    text = "".join(pieces)
    places = []
    for name in names:
        name = name if chatglm else "".join(name.lower().split())
        at = text.find(name)
        inside = [i for i, end in enumerate(ends) if end > at and end - len(pieces[i]) < at + len(name)]
        places.append([first + i for i in inside] if at >= 0 else [])
    return places


def energy(
    maps_BPT: Tensor,
    layouts: Sequence[Layout],
    places: Sequence[Sequence[Sequence[int]]],
    size: tuple[int, int] | None = None,
) -> Tensor:
    """(B,) mean over a layout's objects of (1 − share of attention inside the box)²; 0 for a layout without any.

    maps_BPT: of the grid of latents of `size` cells, halved so many times; of a square one (None). places: for every
    layout and object the places of its tokens in 0…T−1.
    """
    side = round(maps_BPT.shape[1] ** 0.5)
    grid = halved(size, maps_BPT.shape[1]) if size else (side, side)
    centres_P2 = bias.pixel_centres(*grid).to(maps_BPT)
    energies = []
    for maps_PT, layout, words in zip(maps_BPT, layouts, places, strict=True):
        terms = []
        for box, tokens in zip(layout.boxes, words, strict=True):
            if not tokens:
                continue
            map_P = maps_PT[:, list(tokens)].mean(1)
            inside_P = bias.inside(centres_P2, maps_PT.new_tensor(box).reshape(1, 1, 4))[0, :, 0]
            terms.append((1 - (map_P * inside_P).sum() / map_P.sum()) ** 2)
        energies.append(torch.stack(terms).mean() if terms else maps_BPT.new_zeros(()))
    return torch.stack(energies)


def move(
    unet: Any, watched: Sequence[Watched], latents: Tensor, step: Tensor, conditions: dict[str, Any],
    layouts: Sequence[Layout], places: Sequence[Sequence[Sequence[int]]], rate: float,
) -> Tensor:  # fmt: skip
    """One gradient step on the latents (B, C, h, w)."""
    with torch.enable_grad():
        latents = latents.detach().requires_grad_()
        unet(latents, step, **conditions)
        size = (latents.shape[-2], latents.shape[-1])
        energies = [energy(layer.maps_BPT, layouts, places, size).sum() for layer in watched]
        (gradient,) = torch.autograd.grad(torch.stack(energies).mean(), latents)
    return (latents - rate * gradient).detach()


def decode(vae: Any, latents: Tensor) -> Tensor:
    """Pictures (N, 3, H, W) in [-1, 1]; an autoencoder that overflows in fp16 is float32 meanwhile, as in diffusers."""
    upcast = vae.dtype == torch.float16 and vae.config.force_upcast
    if upcast:
        vae.to(torch.float32)
    pixels = vae.decode(latents.to(vae.dtype) / vae.config.scaling_factor).sample
    if upcast:
        vae.to(torch.float16)
    return pixels


@torch.no_grad()
def draw(pipeline: Any, layouts: Sequence[Layout], noise: Tensor, settings: Guided, guidance: float) -> Any:
    """Pictures (N, H, W, 3) in [0, 1] of the layouts' captions, from `noise` (N, C, h, w).

    A scheduler that scales its latents (Euler's, as Kolors and SDXL have it) is DPM-Solver++ here, with its schedule.
    """
    unet, scheduler = pipeline.unet.requires_grad_(False), pipeline.scheduler
    if float(scheduler.init_noise_sigma) != 1:
        scheduler = DPMSolverMultistepScheduler.from_config(scheduler.config)
    captions, noise = [layout.caption for layout in layouts], noise.to(pipeline.device, unet.dtype)
    states, empty, pooled, empty_pooled = pipeline.encode_prompt(
        captions, negative_prompt=pipeline.negatives(len(captions))
    )
    places = [token_places(pipeline, row.caption, row.names) for row in layouts]
    size = (noise.shape[-2] * pipeline.vae_scale_factor, noise.shape[-1] * pipeline.vae_scale_factor)
    one = pipeline._get_add_time_ids(size, (0, 0), size, states.dtype, text_encoder_projection_dim=pooled.shape[-1])
    time_ids = one.repeat(len(layouts), 1).to(states)

    def conditions(*pairs: tuple[Tensor, Tensor]) -> dict[str, Any]:
        sequence, vector = (torch.cat(parts) for parts in zip(*pairs, strict=True))
        added = {"text_embeds": vector, "time_ids": time_ids.repeat(len(pairs), 1)}
        return {"encoder_hidden_states": sequence, "added_cond_kwargs": added}

    captioned, both = conditions((states, pooled)), conditions((empty, empty_pooled), (states, pooled))
    watched = watch(unet, settings.layers)
    scheduler.set_timesteps(settings.steps, device=noise.device)
    latents, named = noise, any(tokens for words in places for tokens in words)  # else no gradient leads anywhere
    for i, t in enumerate(scheduler.timesteps):
        if named and i < settings.share * settings.steps:
            rate = settings.scale * float(1 - scheduler.alphas_cumprod[int(t)])
            for _ in range(settings.iterations):
                latents = move(unet, watched, latents, t, captioned, layouts, places, rate)
        free, grounded = unet(torch.cat([latents] * 2), t, **both).sample.chunk(2)
        latents = scheduler.step(free + guidance * (grounded - free), t, latents).prev_sample
    unet.set_attn_processor(AttnProcessor2_0())
    return pipeline.image_processor.postprocess(decode(pipeline.vae, latents), output_type="np")
