"""Attention processors that add box tokens to a frozen UNet, through diffusers' own attention-processor API.

A grounded layer's output is  Attn(q, K, V) + A,  A = softmax(q·Kᵇᵀ/√d + bias)·Vᵇ,  with new key and value projections
of the box tokens and the layer's frozen query and output projections (the decoupled form of IP-Adapter, Ye et al.,
2023).

Letters: B batch, P pixels, T text tokens (or pixels, in self-attention), N box slots, H heads, D width of a head,
I = H·D, C width of what enters the layer, W width of the part of a token.
"""

from __future__ import annotations

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from gillnext.adapter.bias import STRENGTH, STRENGTH_UNIT
from gillnext.adapter.grounding import Grounding


class SiteLayer(nn.Module):
    """The trainable part of one grounded attention layer: box keys and values, and s for the fourier bias.

    Values start at zero, so that an untrained adapter changes nothing. `part` is the slice of the token that the layer
    reads: everything, or one half where two sites share the budget.
    """

    def __init__(self, width: int, inner: int, heads: int, bias: str, part: tuple[int, int]) -> None:
        super().__init__()
        self.heads, self.part = heads, slice(*part)
        self.to_k = nn.Linear(width, inner, bias=False)
        self.to_v = nn.Linear(width, inner, bias=False)
        nn.init.zeros_(self.to_v.weight)
        self.strength = nn.Parameter(torch.full((heads,), STRENGTH / STRENGTH_UNIT)) if bias == "fourier" else None

    def s(self) -> Tensor | None:
        """(H,) strength of the fourier bias; None for the other biases."""
        return None if self.strength is None else self.strength * STRENGTH_UNIT

    def forward(self, query_BPI: Tensor, grounding: Grounding) -> Tensor:
        """(B, P, inner) queries of the frozen layer to the grounded term, same shape and type.

        The softmax over slots is taken in float32 whatever the layer's type: bf16 has steps of 0.25 at a logit of 60.
        """
        tokens_BNW = grounding.tokens_BND[..., self.part]
        k_BNI, v_BNI = self.to_k(tokens_BNW), self.to_v(tokens_BNW)
        with torch.autocast(query_BPI.device.type, enabled=False):
            q_BHPD, k_BHND, v_BHND = (
                rearrange(x.float(), "b n (h d) -> b h n d", h=self.heads) for x in (query_BPI, k_BNI, v_BNI)
            )
            bias_BHPN = grounding.logits(query_BPI.shape[1], self.s()).float().expand(-1, self.heads, -1, -1)
            out_BHPD = F.scaled_dot_product_attention(q_BHPD, k_BHND, v_BHND, attn_mask=bias_BHPN)
        return rearrange(out_BHPD, "b h p d -> b p (h d)").to(query_BPI.dtype)


class Ungrounded(AttnProcessor2_0):
    """diffusers' own processor that lets the `grounding` keyword pass by."""

    def __call__(  # type: ignore[override]
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        grounding: Grounding | None = None,
    ) -> Tensor:
        """`hidden_states` (B, P, C) to the same shape; `encoder_hidden_states` (B, T, C). diffusers names them."""
        return super().__call__(attn, hidden_states, encoder_hidden_states, attention_mask, temb)


def heads_of(attn: Attention, query_BPI: Tensor, context_BTC: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Projected queries as (B, H, P, D), and the layer's keys and values of a context, each as (B, H, T, D)."""
    parts = (query_BPI, attn.to_k(context_BTC), attn.to_v(context_BTC))
    q_BHPD, k_BHTD, v_BHTD = (rearrange(x, "b t (h d) -> b h t d", h=attn.heads) for x in parts)
    return q_BHPD, k_BHTD, v_BHTD


def leave(attn: Attention, out_BPI: Tensor, entered_BPC: Tensor) -> Tensor:
    """Through the layer's output projection, with its residual connection to what entered: (B, P, C)."""
    left_BPC = attn.to_out[1](attn.to_out[0](out_BPI))
    if attn.residual_connection:
        left_BPC = left_BPC + entered_BPC
    return left_BPC / attn.rescale_output_factor


class Grounded:
    """Adds a `SiteLayer`'s term before the frozen output projection.

    Not a module itself, so that the UNet's own parameters and state dict stay as they are. diffusers makes processors
    of a class without arguments (`load_ip_adapter`): one without a layer grounds nothing, and `injection.py` sees it.
    """

    def __init__(self, layer: nn.Module | None = None) -> None:
        self.layer = layer

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        grounding: Grounding | None = None,
    ) -> Tensor:
        """`hidden_states` (B, P, C) to the same shape; `encoder_hidden_states` (B, T, C); diffusers names them.
        `grounding` None leaves the frozen layer alone.
        """
        if attn.spatial_norm is not None or attn.group_norm is not None or attn.norm_cross:
            raise TypeError("the adapter goes into the transformer blocks of SDXL-style UNets only")
        context_BTC = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query_BPI = attn.to_q(hidden_states)
        q_BHPD, k_BHTD, v_BHTD = heads_of(attn, query_BPI, context_BTC)
        if attention_mask is not None:
            attention_mask = attn.prepare_attention_mask(attention_mask, context_BTC.shape[1], len(context_BTC))
            attention_mask = rearrange(attention_mask, "(b h) q t -> b h q t", h=attn.heads)
        out_BPI = rearrange(  # at once: what it is a copy of is not kept
            F.scaled_dot_product_attention(q_BHPD, k_BHTD, v_BHTD, attn_mask=attention_mask), "b h p d -> b p (h d)"
        )
        if grounding is not None and self.layer is not None:
            out_BPI = out_BPI + self.layer(query_BPI, grounding).to(out_BPI.dtype)
        return leave(attn, out_BPI, hidden_states)
