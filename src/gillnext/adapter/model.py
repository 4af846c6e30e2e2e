"""The spatial adapter as one diffusers model: box tokens, grounded layers, `inject` and `remove`.

    adapter = SpatialAdapter.for_unet(unet, site="attn2", bias="fourier")
    adapter.inject(unet)
    grounding = adapter(boxes_BN4, phrases_BNC, real_BN, size=(16, 16))
    unet(x, t, states, added_cond_kwargs=…, cross_attention_kwargs=adapter.keywords(grounding))

Its equations are in docs/adapter.md; the gated site is GLIGEN's own block (Li et al., 2023, eq. 8).

Letters: B batch, N box slots, C width of a phrase's embedding, E of a box's Fourier features, D of a token.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import ModelMixin, UNet2DConditionModel
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.attention import BasicTransformerBlock, GatedSelfAttentionDense
from torch import Tensor, nn

from gillnext.adapter import bias as bias_
from gillnext.adapter import fourier, injection
from gillnext.adapter.grounding import Grounding
from gillnext.adapter.processors import SiteLayer
from gillnext.runtime.errors import UserError

SITES = ("attn1", "attn2", "both", "gated")
BIASES = ("none", "box", "fourier")


def transformer_blocks(unet: UNet2DConditionModel) -> dict[str, BasicTransformerBlock]:
    """The UNet's transformer blocks by module name."""
    return {n: m for n, m in unet.named_modules() if isinstance(m, BasicTransformerBlock)}


def module_key(name: str) -> str:
    """A module name as a key of ModuleDict, which allows no dots."""
    return name.replace(".", "-")


def blocks_of(unet: UNet2DConditionModel) -> dict[str, list[int]]:
    """Of each transformer block the inner width of its attention, heads, head width and query width."""
    found = {name: block.attn1 for name, block in transformer_blocks(unet).items()}
    return {n: [a.inner_dim, a.heads, a.inner_dim // a.heads, a.query_dim] for n, a in found.items()}


def finished(objs: Tensor) -> Tensor:
    """Stands in for a gated UNet's position net: the tokens (B, N, D) are finished."""
    return objs


class SpatialAdapter(ModelMixin, ConfigMixin):
    """Trainable box tokens and the grounded layers of every transformer block.

    `blocks` maps a block's module name to (inner width of its attention, heads, head width, query width); `for_unet`
    reads it off.
    """

    @register_to_config
    def __init__(
        self,
        blocks: dict[str, list[int]],
        phrase_dim: int,
        site: str = "attn2",
        bias: str = "fourier",
        coordinates: str = "unit",
        frequencies: str = "gligen",
        width: int = 128,
        phrases: bool = True,
    ) -> None:
        super().__init__()
        for what, value, known in (("injection site", site, SITES), ("bias", bias, BIASES)):
            if value not in known:
                raise ValueError(f"unknown {what} {value!r}: one of {', '.join(known)}")
        fourier.frequencies(frequencies)  # refuses a name that it does not know
        self.phrase = nn.Linear(phrase_dim, width)
        self.mlp = nn.Sequential(
            nn.Linear(width + 8 * fourier.BANDS, 2 * width),
            nn.SiLU(),
            nn.Linear(2 * width, 2 * width),
            nn.SiLU(),
            nn.Linear(2 * width, width),
        )
        self.null = nn.Parameter(torch.randn(width) * 0.02)
        self.layers = nn.ModuleDict()
        for block, (inner, heads, head_dim, query_dim) in blocks.items():
            if site == "gated":
                self.layers[module_key(block)] = GatedSelfAttentionDense(query_dim, width, heads, head_dim)
                continue
            halves = {"attn1": (0, width // 2), "attn2": (width // 2, width)} if site == "both" else {site: (0, width)}
            for where, part in halves.items():
                layer = SiteLayer(part[1] - part[0], inner, heads, bias, part)
                self.layers[module_key(f"{block}.{where}")] = layer

    @classmethod
    def for_unet(cls, unet: UNet2DConditionModel, **settings: Any) -> SpatialAdapter:
        """An untrained adapter that fits `unet` (Kolors, SDXL, or a miniature of them)."""
        if not (blocks := blocks_of(unet)):
            raise ValueError("the UNet has no transformer block: nothing to inject into")
        return cls(blocks=blocks, phrase_dim=unet.config.cross_attention_dim, **settings)

    def coordinates_of(self, boxes_BN4: Tensor) -> Tensor:
        """Unit boxes as the tokens see them: as they are, as integers 0–1000 (raw), or those clamped to 0–1."""
        if self.config.coordinates == "unit":
            return boxes_BN4
        raw = (boxes_BN4 * 1000).round()
        return raw if self.config.coordinates == "raw" else raw.clamp(0, 1)

    def forward(
        self,
        boxes_BN4: Tensor,
        phrases_BNC: Tensor,
        real_BN: Tensor,
        size: tuple[int, int],
        dropped_B: Tensor | None = None,
    ) -> Grounding:
        """Grounding of a batch.

        boxes_BN4: unit xyxy. phrases_BNC: phrase embeddings in the UNet's cross-attention width. real_BN: filled slots.
        size: height and width in the latents' cells. dropped_B: samples whose boxes are all replaced by the null token.
        Geometry is computed in float32, whatever the type of the weights: bf16 tells 256 places in an image apart.
        """
        if not self.config.phrases:
            phrases_BNC = torch.zeros_like(phrases_BNC)
        if dropped_B is not None:
            real_BN = real_BN & ~dropped_B[:, None]
        boxes_BN4 = boxes_BN4.float()
        omega_F = fourier.frequencies(self.config.frequencies).to(boxes_BN4)
        where_BNE = fourier.embed(self.coordinates_of(boxes_BN4), omega_F)
        phrase_BND = self.phrase(phrases_BNC.to(self.phrase.weight))
        tokens_BND = self.mlp(torch.cat([phrase_BND, where_BNE.to(phrase_BND)], -1))
        tokens_BND = torch.where(real_BN[..., None], tokens_BND, self.null.to(tokens_BND))
        null_B1D = self.null.to(tokens_BND).expand(len(tokens_BND), 1, -1)
        always_B1 = torch.ones_like(real_BN[:, :1])
        return Grounding(
            tokens_BND=torch.cat([tokens_BND, null_B1D], 1),
            boxes_BN4=torch.cat([boxes_BN4, torch.zeros_like(boxes_BN4[:, :1])], 1),
            valid_BN=torch.cat([real_BN, always_B1], 1),
            bias="none" if self.config.site == "gated" else self.config.bias,
            size=size,
            omega_F=bias_.frequencies().to(boxes_BN4),
        )

    def keywords(self, grounding: Grounding) -> dict[str, Any]:
        """`cross_attention_kwargs` that carry the grounding to the injected layers."""
        if self.config.site == "gated":
            return {"gligen": {"objs": grounding.tokens_BND}, "grounding": None}
        return {"grounding": grounding}

    def check(self, unet: UNet2DConditionModel) -> None:
        """`UserError` where the adapter was trained on another UNet: other blocks, widths or cross-attention."""
        remedy = "give the base that this adapter was trained on (its README.md names it), or train one on this base"
        wanted, found = {name: list(part) for name, part in self.config.blocks.items()}, blocks_of(unet)
        if wanted.keys() != found.keys():
            odd = sorted(wanted.keys() ^ found.keys())[0]
            what = f"the adapter has layers for {len(wanted)} transformer blocks, this UNet has {len(found)}"
            raise UserError(what, where=f"block {odd}", remedy=remedy)
        for name in wanted:
            if wanted[name] != found[name]:
                what = "the adapter was made for {}, {} heads of {}, input {}; this UNet has {}, {} of {}, {}".format(
                    *wanted[name], *found[name]
                )
                raise UserError(what, where=f"block {name}, inner width", remedy=remedy)
        width = unet.config.cross_attention_dim
        if self.config.phrase_dim != width:
            what = (
                f"the adapter reads phrases of width {self.config.phrase_dim}; this UNet's cross-attention has {width}"
            )
            raise UserError(what, where="the base's unet", remedy=remedy)

    def inject(self, unet: UNet2DConditionModel) -> list[str]:
        """Put the grounded layers into `unet`; returns the names of the injected layers.

        Another's attention processors (an IP-Adapter's, say) stay, and boxes are felt beside them (`injection.py`).
        Raises `UserError` where the adapter does not fit this UNet.
        """
        unet = getattr(unet, "_orig_mod", unet)  # under torch.compile
        self.check(unet)
        self.remove(unet)
        entered, blocks = injection.Injection(self, unet), transformer_blocks(unet)
        unet.injection = entered
        layers = dict(self.layers.items())
        for name, attn in injection.attentions(unet).items():
            entered.put(name, attn, layers.get(module_key(name)))
        if self.config.site != "gated":
            return [place.name for place in entered.places if place.layer is not None]
        # Into __dict__, past nn.Module: the UNet's own parameters and state dict stay as they are.
        for name in self.config.blocks:
            blocks[name].__dict__["fuser"] = self.layers[module_key(name)]
        unet.__dict__["position_net"] = finished
        return [f"{name}.fuser" for name in self.config.blocks]

    @staticmethod
    def remove(unet: UNet2DConditionModel) -> None:
        """Take the grounded layers out of `unet`: diffusers' default processors stand in their places."""
        unet = getattr(unet, "_orig_mod", unet)
        if (entered := injection.of(unet)) is not None:
            entered.remove()
            del unet.injection
        for block in transformer_blocks(unet).values():
            block.__dict__.pop("fuser", None)
        unet.__dict__.pop("position_net", None)

    def listing(self, unet: UNet2DConditionModel) -> str:
        """One line an injected layer: its name, heads, bias and trainable parameters, with the total."""
        lines = []
        for key, layer in self.layers.items():
            count = sum(p.numel() for p in layer.parameters())
            lines.append(f"{key.replace('-', '.'):<72} {type(layer).__name__:<24} {count:>10,}")
        total = sum(p.numel() for p in self.parameters())
        base = sum(p.numel() for p in unet.parameters())
        lines.append(f"{len(self.layers)} layers injected at {self.config.site}, bias {self.config.bias}")
        lines.append(f"trainable parameters: {total:,} ({total / base:.2%} of the UNet's {base:,})")
        return "\n".join(lines) + "\n"
