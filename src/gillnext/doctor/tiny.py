"""A training of a second that has every kind of operation of our trainings, and the hash of the weights it ends with.

Two machines whose hashes are the same train the same models, to the bit. Shapes are the demo's own widths, or odd, so
that vectors have ends; all is small enough for an emulator.

Letters: B batch, C channels, T tokens, P pixels, H heads, D a head's width.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import math

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from gillnext.runtime import seeds, training

STEPS = 3
WORDS, CLASSES, BATCH, TOKENS, SIDE = 61, 5, 4, 19, 12


def heads(x_BTC: Tensor, count: int = 3) -> Tensor:
    """(B, T, H·D) to (B, H, T, D)."""
    return rearrange(x_BTC, "b t (h d) -> b h t d", h=count)


class TextSide(nn.Module):
    """Embedding, causal attention, an RMS-normed gated layer as ChatGLM's and Qwen2's, an encoder layer as CLIP's."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, 96)
        self.qkv = nn.Linear(96, 3 * 96, bias=False)
        self.gate = nn.Linear(96, 2 * 192)
        self.back = nn.Linear(192, 96)
        self.layer = nn.TransformerEncoderLayer(96, 3, 160, 0.0, "gelu", batch_first=True, norm_first=True)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        x = self.words(tokens_BT)  # (B, T, C)
        q, k, v = map(heads, self.qkv(x).chunk(3, -1))  # (B, H, T, D)
        x = x + rearrange(F.scaled_dot_product_attention(q, k, v, is_causal=True), "b h t d -> b t (h d)")
        normed = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5)
        gate, value = self.gate(normed).chunk(2, -1)
        return self.layer(x + self.back(F.silu(gate) * value))


class ImageSide(nn.Module):
    """Convolutions down and up, group norms, cross-attention, and attention whose additive mask is learned."""

    def __init__(self) -> None:
        super().__init__()
        self.time = nn.Sequential(nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 64))
        self.enter, self.norm = nn.Conv2d(4, 64, 3, padding=1), nn.GroupNorm(16, 64)
        self.down, self.layer_norm = nn.Conv2d(64, 96, 3, stride=2, padding=1), nn.LayerNorm(96)
        self.q, self.kv = nn.Linear(96, 96), nn.Linear(96, 2 * 96)
        self.box_kv, self.strength_H = nn.Linear(96, 2 * 96, bias=False), nn.Parameter(torch.ones(3))
        self.classes = nn.Conv2d(96, CLASSES, 1)
        self.up, self.merge = nn.ConvTranspose2d(96, 64, 4, 2, 1), nn.Conv2d(64 + 96, 64, 3, padding=1)
        self.leave = nn.Conv2d(64, 4, 3, padding=1)

    def forward(self, x: Tensor, times_B: Tensor, text_BTC: Tensor, near_BPT: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures (B, 4, h, w) to the same shape, and logits of classes (B, K, h/2, w/2)."""
        angles = times_B[:, None] * torch.exp(torch.arange(32) * (-math.log(1e4) / 32))
        time = self.time(torch.cat([angles.sin(), angles.cos()], -1))  # (B, C)
        x = F.silu(self.norm(self.enter(x)) + time[..., None, None])  # (B, C, h, w)
        low = self.down(x)  # (B, C, h/2, w/2)
        pixels = rearrange(low, "b c h w -> b (h w) c")  # (B, P, C)
        q = heads(self.q(self.layer_norm(pixels)))  # (B, H, P, D)
        k, v = map(heads, self.kv(text_BTC).chunk(2, -1))  # (B, H, T, D)
        box_k, box_v = map(heads, self.box_kv(text_BTC).chunk(2, -1))
        bias = near_BPT[:, None] * self.strength_H[:, None, None]  # (B, H, P, T)
        seen = F.scaled_dot_product_attention(q, k, v) + F.scaled_dot_product_attention(q, box_k, box_v, bias)
        low = low + rearrange(seen, "b h (y x) d -> b (h d) y x", y=low.shape[-2])
        joined = torch.cat([self.up(low), F.interpolate(low, scale_factor=2.0, mode="nearest")], 1)
        return self.leave(F.gelu(self.merge(joined))), self.classes(low)


class Tiny(nn.Module):
    """Both sides, and the losses of our trainings: squared error, cross-entropies, one of two, contrast."""

    def __init__(self) -> None:
        super().__init__()
        self.text, self.image = TextSide(), ImageSide()

    def loss(self, step: int) -> Tensor:
        """The sum of the losses on the random batch of `step`."""
        g = seeds.torch_generator("doctor", step)
        noisy, target = torch.randn(2, BATCH, 4, SIDE, SIDE, generator=g).unbind()
        tokens = torch.randint(WORDS, (BATCH, TOKENS), generator=g)
        maps = torch.randint(CLASSES, (BATCH, SIDE // 2, SIDE // 2), generator=g)
        times, near = torch.rand(BATCH, generator=g) * 1000, torch.rand(BATCH, SIDE**2 // 4, TOKENS, generator=g)
        states = self.text(tokens)  # (B, T, C)
        made, logits = self.image(noisy.to(memory_format=torch.channels_last), times, states, near)
        next_word = F.linear(states[:, :-1], self.text.words.weight).flatten(0, 1)  # (B·(T − 1), WORDS)
        words = F.cross_entropy(next_word, tokens[:, 1:].flatten())
        pooled, shown = F.normalize(states[:, -1], dim=-1), F.normalize(F.pad(logits.mean((2, 3)), (0, 91)), dim=-1)
        contrast = F.cross_entropy(10 * pooled @ shown.T, torch.arange(BATCH))
        share = logits.softmax(1)[:, 0]
        there = F.binary_cross_entropy_with_logits(share.mean((1, 2)), (times > 500).float())
        return F.mse_loss(made, target) + F.cross_entropy(logits, maps) + words + contrast + there


def train() -> str:
    """Train on the CPU, as `training.setup` has left torch; returns the first 16 hex digits of the weights' SHA-256."""
    with torch.random.fork_rng(devices=[]), contextlib.redirect_stderr(io.StringIO()):
        torch.manual_seed(seeds.key("doctor"))
        model = Tiny().to(memory_format=torch.channels_last)
        training.train("doctor", list(model.parameters()), model.loss, steps=STEPS, lr=1e-3, ema_decay=0.9)
    digest = hashlib.sha256()
    for parameter in model.parameters():
        digest.update(parameter.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
