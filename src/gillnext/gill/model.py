"""GILL on Chinese conversations: one frozen causal LM, three small trained ways in and out of it.

Koh, Fried & Salakhutdinov, 2023, "Generating Images with Multimodal Language Models" (arXiv:2305.17216). A picture
enters as a prefix of embeddings; r [IMG] tokens after what was said leave as an embedding that finds pictures and,
through a mapper of learned queries, as what the UNet gets in place of its text encoder's states. The mapper is trained
by its distance to the text encoder's output, as GILL's is, or through the UNet and its spatial adapter.

    gill = Gill(language, Sizes(features=96, states=32, width=96, pooled=96))
    loss = losses.captioning(gill, batch) + losses.retrieval(gill, batch) + losses.matching(gill, batch)

Letters of shapes: B samples, L tokens, K prefix tokens, R [IMG] tokens, Q all that the LM reads, H its width, W its
words, V visual features (G of them a picture, where they are not pooled), P pictures among the texts, T text states, C
their width, E retrieval width, M width of the mapper and of what looks at cells. Pooled states have their own width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from gillnext.adapter.objective import Denoiser
from gillnext.gill.sequence import Texts

HEADS = 4  # of the attention of mapper and resamplers
LOOKS = 2  # layers of a resampler


@dataclass(frozen=True)
class Sizes:
    """features: V, the visual encoder's, and cells: G, 0 where it pools. states, width, pooled: T, C and the pooled
    width of what the UNet gets. The rest are settings: R, K, E, M, and the layers of the mapper's encoder and decoder.
    """

    features: int
    states: int
    width: int
    pooled: int
    images: int = 8
    prefix: int = 4
    retrieval: int = 64
    mapper_width: int = 128
    mapper_layers: int = 2
    cells: int = 0


class Cells(nn.Module):
    """What a picture's cells (B, G, V) say, one by one: an MLP over each, and what belongs to its place."""

    def __init__(self, features: int, cells: int, inner: int) -> None:
        super().__init__()
        mlp = nn.Linear(features, 2 * inner), nn.GELU(), nn.Linear(2 * inner, inner)
        self.enter = nn.Sequential(nn.LayerNorm(features), *mlp)
        self.places_GM = nn.Parameter(torch.zeros(cells, inner))

    def forward(self, features_BGV: Tensor) -> Tensor:
        return self.enter(features_BGV) + self.places_GM


class AttentionPooling(nn.Module):
    """One learned query that attends to a picture's cells: (B, G, V) to (B, width)."""

    def __init__(self, features: int, cells: int, inner: int, width: int) -> None:
        super().__init__()
        self.cells = Cells(features, cells, inner)
        self.query_M = nn.Parameter(torch.randn(inner))
        self.attention = nn.MultiheadAttention(inner, HEADS, bias=False, batch_first=True)
        self.leave = nn.Linear(inner, width)

    def forward(self, features_BGV: Tensor) -> Tensor:
        cells_BGM = self.cells(features_BGV)
        query_BM = repeat(self.query_M, "m -> b 1 m", b=len(features_BGV))
        return self.leave(self.attention(query_BM, cells_BGM, cells_BGM, need_weights=False)[0][:, 0])


class Look(nn.Module):
    """One layer of a resampler: queries attend to a picture's cells, then to each other, then an MLP, all residual."""

    def __init__(self, inner: int) -> None:
        super().__init__()
        self.before = nn.ModuleList(nn.LayerNorm(inner) for _ in range(3))
        self.cells = nn.MultiheadAttention(inner, HEADS, bias=False, batch_first=True)
        self.others = nn.MultiheadAttention(inner, HEADS, bias=False, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(inner, 2 * inner), nn.GELU(), nn.Linear(2 * inner, inner))

    def forward(self, queries_BKM: Tensor, cells_BGM: Tensor) -> Tensor:
        """Queries (B, K, M), which know more."""
        first, second, third = self.before
        queries_BKM = queries_BKM + self.cells(first(queries_BKM), cells_BGM, cells_BGM, need_weights=False)[0]
        own_BKM = second(queries_BKM)
        queries_BKM = queries_BKM + self.others(own_BKM, own_BKM, own_BKM, need_weights=False)[0]
        return queries_BKM + self.mlp(third(queries_BKM))


class Resampler(nn.Module):
    """Learned queries that look at a picture's cells: a perceiver resampler (Alayrac et al., 2022, arXiv:2204.14198).

    GILL has a linear map of pooled features in this place, which small encoders leave too little in. Queries must know
    of each other: those that did not named one object twice and left another out.
    """

    def __init__(self, features: int, cells: int, queries: int, inner: int, width: int) -> None:
        super().__init__()
        self.cells = Cells(features, cells, inner)
        self.queries_KM = nn.Parameter(torch.randn(queries, inner))
        self.looks = nn.ModuleList(Look(inner) for _ in range(LOOKS))
        self.leave = nn.Linear(inner, width)

    def forward(self, features_BGV: Tensor) -> Tensor:
        """What each query finds, one after the other: (B, K · width)."""
        cells_BGM = self.cells(features_BGV)
        queries_BKM = repeat(self.queries_KM, "k m -> b k m", b=len(features_BGV))
        for look in self.looks:
            queries_BKM = look(queries_BKM, cells_BGM)
        return rearrange(self.leave(queries_BKM), "b k w -> b (k w)")


class Mapper(nn.Module):
    """GILLMapper: an encoder-decoder whose learned queries read the [IMG] states (GILL's own has M = 512, 4 layers).

    T queries become the UNet's text states; one more becomes its pooled state.
    """

    def __init__(self, inner: int, states: int, width: int, pooled: int, mapper_width: int, layers: int) -> None:
        super().__init__()
        self.enter = nn.Linear(inner, mapper_width)
        layer: dict[str, Any] = {"d_model": mapper_width, "nhead": HEADS, "dim_feedforward": 4 * mapper_width}
        layer |= {"dropout": 0.0, "batch_first": True, "norm_first": True}
        encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(**layer), layers, nn.LayerNorm(mapper_width), enable_nested_tensor=False
        )
        self.transformer = nn.Transformer(num_decoder_layers=layers, custom_encoder=encoder, **layer)
        self.queries_TM = nn.Parameter(torch.randn(states + 1, mapper_width))
        self.states = nn.Linear(mapper_width, width)
        self.pooled = nn.Linear(mapper_width, pooled)

    @torch.no_grad()
    def begin_at(self, states_NTC: Tensor, pooled_NP: Tensor) -> None:
        """Let an untrained mapper's output have the mean and the spread of these, which it is to give."""
        for layer, wanted in ((self.states, states_NTC), (self.pooled, pooled_NP)):
            layer.bias.copy_(wanted.flatten(0, -2).mean(0))
            layer.weight.mul_(wanted.std())

    def forward(self, images_BRH: Tensor) -> tuple[Tensor, Tensor]:
        """Text states (B, T, C) and pooled states (B, P)."""
        queries_BTM = repeat(self.queries_TM, "t m -> b t m", b=len(images_BRH))
        read_BTM = self.transformer(self.enter(images_BRH), queries_BTM)
        return self.states(read_BTM[:, :-1]), self.pooled(read_BTM[:, -1])


class Gill(nn.Module):
    """The frozen LM with everything that is trained around it.

    language: a causal LM such as `Qwen2ForCausalLM`. denoiser: the frozen UNet with its spatial adapter injected, where
    generation is trained through them.
    """

    def __init__(self, language: PreTrainedModel, sizes: Sizes, denoiser: Denoiser | None = None) -> None:
        super().__init__()
        self.language: Any = language.requires_grad_(False)
        self.sizes = sizes
        self.denoiser = denoiser
        if denoiser:
            denoiser.unet.requires_grad_(False)
        table: Any = language.get_input_embeddings()
        words_WH = table.weight.detach().float()
        hidden, spread = words_WH.shape[1], words_WH.std().item()
        self.word_norm = words_WH.norm(dim=1).mean().item()
        self.image_RH = nn.Parameter(torch.randn(sizes.images, hidden) * spread)  # the new words' rows
        if sizes.cells:
            seen = sizes.features, sizes.cells
            self.prefix: nn.Module = Resampler(*seen, sizes.prefix, sizes.mapper_width, hidden)
            self.find_picture: nn.Module = AttentionPooling(*seen, sizes.mapper_width, sizes.retrieval)
        else:
            self.prefix = nn.Linear(sizes.features, sizes.prefix * hidden)
            self.find_picture = nn.Linear(sizes.features, sizes.retrieval)
        self.find_text = nn.Linear(hidden, sizes.retrieval)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.mapper = Mapper(hidden, sizes.states, sizes.width, sizes.pooled, sizes.mapper_width, sizes.mapper_layers)

    def trainable_parameters(self) -> dict[str, nn.Parameter]:
        """What is trained, by name: [IMG] rows, prefix, retrieval, temperature, mapper and spatial adapter."""
        return {name: p for name, p in self.named_parameters() if p.requires_grad}

    @torch.no_grad()
    def reset_norms(self) -> None:
        """Give each [IMG] row the mean norm of the vocabulary's rows, as GILL does after every step."""
        self.image_RH.mul_(self.word_norm / self.image_RH.norm(dim=1, keepdim=True))

    def read(self, embeddings_BLH: Tensor, mask_BL: Tensor) -> Tensor:
        """Last hidden states (B, L, H) float32 of the LM, in its own precision; positions count the tokens that are."""
        hidden_BLH = self.language.base_model(
            inputs_embeds=embeddings_BLH.to(self.language.dtype),
            attention_mask=mask_BL,
            position_ids=(mask_BL.cumsum(1) - 1).clamp(min=0),
            use_cache=False,
        ).last_hidden_state
        return hidden_BLH.float()

    def seen(self, features_PV: Tensor) -> Tensor:
        """The embeddings (P, K, H) that pictures enter as."""
        return rearrange(self.prefix(features_PV), "p (k h) -> p k h", h=self.image_RH.shape[1])

    def words(self, texts: Texts) -> Tensor:
        """Embeddings (B, L, H): the LM's own, which stay as they are, and those of the pictures among them."""
        words_BLH = self.language.get_input_embeddings()(texts.ids)
        if texts.slots is None or texts.pictures is None:
            return words_BLH
        pictures_NH = rearrange(self.seen(texts.pictures), "p k h -> (p k) h")
        shown_BLH = pictures_NH[texts.slots.clamp(min=0)].to(words_BLH.dtype)
        return torch.where((texts.slots >= 0)[..., None], shown_BLH, words_BLH)

    def caption_logits(self, features_BV: Tensor, captions: Texts) -> Tensor:
        """Logits (B, L, W) of each caption token, from the picture's prefix and the tokens before it."""
        prefix_BKH = self.seen(features_BV)
        seen = prefix_BKH.shape[1]
        hidden_BQH = self.read(
            torch.cat([prefix_BKH, self.words(captions)], 1), F.pad(captions.mask, (seen, 0), value=1)
        )
        before_BLH = hidden_BQH[:, seen - 1 : -1].to(self.language.dtype)
        return self.language.get_output_embeddings()(before_BLH).float()

    def caption(self, features_BV: Tensor, end: int, most: int) -> list[list[int]]:
        """Captions of pictures, token by token the likeliest, without the token `end`; at most `most` tokens."""
        language, rows_BLH = self.language, self.seen(features_BV)
        said: list[list[int]] = [[] for _ in features_BV]
        going, past = set(range(len(said))), None
        for _ in range(most):
            output = language(inputs_embeds=rows_BLH.to(language.dtype), past_key_values=past, use_cache=True)
            likeliest_B, past = output.logits[:, -1].argmax(-1), output.past_key_values
            rows_BLH = language.get_input_embeddings()(likeliest_B)[:, None]
            going -= {i for i in going if likeliest_B[i] == end}
            for i in going:
                said[i].append(int(likeliest_B[i]))
            if not going:
                break
        return said

    def image_states(self, texts: Texts) -> Tensor:
        """Hidden states (B, R, H) of the [IMG] tokens that follow what was said."""
        images_BRH = repeat(self.image_RH, "r h -> b r h", b=len(texts))
        count = images_BRH.shape[1]
        hidden_BQH = self.read(torch.cat([self.words(texts), images_BRH], 1), F.pad(texts.mask, (0, count), value=1))
        return hidden_BQH[:, -count:]

    def mapped(self, images_BRH: Tensor) -> tuple[Tensor, Tensor]:
        """Text states (B, T, C) and pooled states of [IMG] states: what the UNet gets.

        The mapper reads the [IMG] tokens' hidden states plus their embeddings, as GILL's does.
        """
        return self.mapper(images_BRH + self.image_RH)

    def text_states(self, texts: Texts) -> tuple[Tensor, Tensor]:
        """What the UNet gets of what was said: text states (B, T, C) and pooled states."""
        return self.mapped(self.image_states(texts))

    def found(self, images_BRH: Tensor) -> Tensor:
        """Unit embeddings (B, E) of [IMG] states: of the first token's, as in GILL."""
        return F.normalize(self.find_text(images_BRH[:, 0]), dim=-1)

    def picture_embedding(self, features_BV: Tensor) -> Tensor:
        """Unit embeddings (B, E) of pictures."""
        return F.normalize(self.find_picture(features_BV), dim=-1)

    def text_embedding(self, texts: Texts) -> Tensor:
        """Unit embeddings (B, E) of what was said."""
        return self.found(self.image_states(texts))
