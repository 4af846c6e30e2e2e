"""GILL's shape on Chinese captions: one frozen causal LM, three small trained ways in and out of it.

Koh, Fried & Salakhutdinov, 2023, "Generating Images with Multimodal Language Models" (arXiv:2305.17216). A picture
enters as a prefix of embeddings; r [IMG] tokens after a caption leave as an embedding that finds pictures and, through
a mapper of learned queries, as what the UNet gets in place of its text encoder's states. GILL trains the mapper by its
distance to the text encoder's output; this model generates through the UNet and its spatial adapter.

    gill = Gill(language, Denoiser(adapter, unet), features=256, states=32)
    loss = losses.captioning(gill, batch) + losses.retrieval(gill, batch) + losses.generation(gill, batch)

Letters of shapes: B samples, L caption tokens, K prefix tokens, R [IMG] tokens, Q all that the LM reads, H its width,
W its words, V visual features, T text states, C their width, P pooled width, E retrieval width, M width of the mapper.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from gillnext.adapter.objective import Denoiser


class Mapper(nn.Module):
    """GILLMapper: an encoder-decoder whose learned queries read the [IMG] states (GILL's own has M = 512, 4 layers).

    T queries become the UNet's text states; one more becomes its pooled state.
    """

    def __init__(self, inner: int, states: int, width: int, pooled: int, mapper_width: int, layers: int) -> None:
        super().__init__()
        self.enter = nn.Linear(inner, mapper_width)
        layer: dict[str, Any] = {"d_model": mapper_width, "nhead": 4, "dim_feedforward": 4 * mapper_width}
        layer |= {"dropout": 0.0, "batch_first": True, "norm_first": True}
        encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(**layer), layers, nn.LayerNorm(mapper_width), enable_nested_tensor=False
        )
        self.transformer = nn.Transformer(num_decoder_layers=layers, custom_encoder=encoder, **layer)
        self.queries_TM = nn.Parameter(torch.randn(states + 1, mapper_width))
        self.states = nn.Linear(mapper_width, width)
        self.pooled = nn.Linear(mapper_width, pooled)

    def forward(self, images_BRH: Tensor) -> tuple[Tensor, Tensor]:
        """Text states (B, T, C) and pooled states (B, P)."""
        queries_BTM = repeat(self.queries_TM, "t m -> b t m", b=len(images_BRH))
        read_BTM = self.transformer(self.enter(images_BRH), queries_BTM)
        return self.states(read_BTM[:, :-1]), self.pooled(read_BTM[:, -1])


class Gill(nn.Module):
    """The frozen LM and UNet with everything that is trained around them.

    language: a causal LM such as `Qwen2ForCausalLM`. denoiser: the UNet with its spatial adapter injected.
    features: V, width of the frozen visual backbone's output. states: T, text states that the UNet gets.
    """

    def __init__(
        self,
        language: PreTrainedModel,
        denoiser: Denoiser,
        features: int,
        states: int,
        images: int = 8,
        prefix: int = 4,
        retrieval: int = 64,
        mapper_width: int = 128,
        mapper_layers: int = 2,
    ) -> None:
        super().__init__()
        self.language = language.requires_grad_(False)
        self.denoiser = denoiser
        denoiser.unet.requires_grad_(False)
        words_WH: Any = language.get_input_embeddings().weight
        hidden, unet = words_WH.shape[1], denoiser.unet.config
        self.image_RH = nn.Parameter(torch.randn(images, hidden) * words_WH.float().std().item())  # the new words' rows
        self.prefix = nn.Linear(features, prefix * hidden)
        self.find_picture = nn.Linear(features, retrieval)
        self.find_text = nn.Linear(hidden, retrieval)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        width = unet.encoder_hid_dim or unet.cross_attention_dim
        pooled = unet.projection_class_embeddings_input_dim - 6 * unet.addition_time_embed_dim
        self.mapper = Mapper(hidden, states, width, pooled, mapper_width, mapper_layers)

    def trainable_parameters(self) -> dict[str, nn.Parameter]:
        """What is trained, by name: [IMG] rows, prefix, retrieval, temperature, mapper and spatial adapter."""
        return {name: p for name, p in self.named_parameters() if p.requires_grad}

    def read(self, embeddings_BLH: Tensor, mask_BL: Tensor) -> Tensor:
        """Last hidden states (B, L, H) float32 of the LM, in its own precision; positions count the tokens that are."""
        hidden_BLH = self.language.base_model(
            inputs_embeds=embeddings_BLH.to(self.language.dtype),
            attention_mask=mask_BL,
            position_ids=(mask_BL.cumsum(1) - 1).clamp(min=0),
            use_cache=False,
        ).last_hidden_state
        return hidden_BLH.float()

    def words(self, ids_BL: Tensor) -> Tensor:
        """The LM's own embeddings (B, L, H), which stay as they are."""
        return self.language.get_input_embeddings()(ids_BL)

    def caption_logits(self, features_BV: Tensor, ids_BL: Tensor, mask_BL: Tensor) -> Tensor:
        """Logits (B, L, W) of each caption token, from the picture's prefix and the tokens before it."""
        prefix_BKH = rearrange(self.prefix(features_BV), "b (k h) -> b k h", h=self.image_RH.shape[1])
        seen = prefix_BKH.shape[1]
        hidden_BQH = self.read(torch.cat([prefix_BKH, self.words(ids_BL)], 1), F.pad(mask_BL, (seen, 0), value=1))
        before_BLH = hidden_BQH[:, seen - 1 : -1].to(self.language.dtype)
        return self.language.get_output_embeddings()(before_BLH).float()

    def image_states(self, ids_BL: Tensor, mask_BL: Tensor) -> Tensor:
        """Hidden states (B, R, H) of the [IMG] tokens that follow a caption."""
        images_BRH = repeat(self.image_RH, "r h -> b r h", b=len(ids_BL))
        count = images_BRH.shape[1]
        hidden_BQH = self.read(torch.cat([self.words(ids_BL), images_BRH], 1), F.pad(mask_BL, (0, count), value=1))
        return hidden_BQH[:, -count:]

    def text_states(self, ids_BL: Tensor, mask_BL: Tensor) -> tuple[Tensor, Tensor]:
        """What the UNet gets of a caption: text states (B, T, C) and pooled states (B, P).

        The mapper reads the [IMG] tokens' hidden states plus their embeddings, as GILL's does.
        """
        return self.mapper(self.image_states(ids_BL, mask_BL) + self.image_RH)

    def picture_embedding(self, features_BV: Tensor) -> Tensor:
        """Unit embeddings (B, E) of pictures."""
        return F.normalize(self.find_picture(features_BV), dim=-1)

    def text_embedding(self, ids_BL: Tensor, mask_BL: Tensor) -> Tensor:
        """Unit embeddings (B, E) of captions, from the first [IMG] token as in GILL."""
        return F.normalize(self.find_text(self.image_states(ids_BL, mask_BL)[:, 0]), dim=-1)
