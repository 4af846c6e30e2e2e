"""What a good edit is: three losses of an edited picture, differentiable in its pixels; and its quality, to rank by.

With E(·) the image-text model's unit embeddings, S and P source and edited picture, s and e the prompts:

    text         1 − E(P) · E(e)
    directional  1 − cos(E(P) − E(S), E(e) − E(s))                    (Gal et al., 2022)
    structure    mean squared change of the cosines between all patches' keys    (Tumanyan et al., 2022)

Letters: N pictures, T tokens, D width of keys, E width of embeddings.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gillnext.config.regions import ObjectiveWeights, RankingWeights
from gillnext.instruments.image_text import for_torchmetrics
from gillnext.regions.eyes import Eyes

TERMS = ("text", "directional", "structure")


class ImageText:
    """A frozen Chinese-CLIP whose image embedding is differentiable in the pixels."""

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        self.model: Any
        self.model, self.processor = for_torchmetrics(folder)
        self.model.to(device)
        image = self.processor.image_processor
        size = image.size.get("shortest_edge") or image.size["height"]
        self.size, self.device = int(size), device
        self.mean = torch.tensor(image.image_mean, device=device).view(1, -1, 1, 1)
        self.deviation = torch.tensor(image.image_std, device=device).view(1, -1, 1, 1)
        self.length = int(self.model.config.text_config.max_position_embeddings)
        self.known = dict[str, Tensor]()

    def images(self, pixels_N3HW: Tensor) -> Tensor:
        """Unit embeddings (N, E) of pictures in [0, 1]."""
        if pixels_N3HW.shape[-2:] != (self.size, self.size):
            shape = (self.size, self.size)
            pixels_N3HW = F.interpolate(pixels_N3HW, shape, mode="bicubic", antialias=True, align_corners=False)
        return F.normalize(
            self.model.get_image_features(pixel_values=(pixels_N3HW - self.mean) / self.deviation), dim=-1
        )

    @torch.no_grad()
    def text(self, text: str) -> Tensor:
        """The unit embedding (E,) of a text."""
        if text not in self.known:
            batch = self.processor(
                text=[text], return_tensors="pt", padding=True, truncation=True, max_length=self.length
            ).to(self.device)
            self.known[text] = F.normalize(self.model.get_text_features(**batch), dim=-1)[0]
        return self.known[text]

    def unknown(self, text: str) -> float:
        """The share of a text's tokens that the tokenizer does not know."""
        tokenizer = self.processor.tokenizer
        ids = tokenizer(text, add_special_tokens=False).input_ids
        return sum(token == tokenizer.unk_token_id for token in ids) / max(len(ids), 1)


def similarities(keys_NTD: Tensor) -> Tensor:
    """(N, T, T) cosines between the keys of a picture's tokens."""
    unit = F.normalize(keys_NTD, dim=-1)
    return unit @ unit.transpose(1, 2)


class Objective:
    """The losses of one edit. `source` (3, H, W) in [0, 1]; the prompts are those of the ask."""

    def __init__(
        self, eyes: Eyes, clip: ImageText, source: Tensor, prompts: tuple[str, str], weights: ObjectiveWeights
    ) -> None:
        self.eyes, self.clip, self.weights = eyes, clip, weights
        with torch.no_grad():
            self.image = clip.images(source[None])[0]
            self.structure = similarities(eyes.keys(source[None]))
        before, self.wanted = (clip.text(text) for text in prompts)
        self.change = self.wanted - before

    def terms(self, pixels_N3HW: Tensor) -> dict[str, Tensor]:
        """The three losses, (N,) each."""
        return self.of(self.clip.images(pixels_N3HW), pixels_N3HW)

    def of(self, embedding: Tensor, pixels_N3HW: Tensor) -> dict[str, Tensor]:
        """The three losses of pictures whose embeddings (N, E) are known."""
        moved = embedding - self.image
        # a picture that is the source has moved nowhere: 1, as if across
        along = (moved @ self.change) / (moved.square().sum(-1) + 1e-6).sqrt() / (self.change.norm() + 1e-6)
        changed = (similarities(self.eyes.keys(pixels_N3HW)) - self.structure).square().mean((1, 2))
        return {"text": 1 - embedding @ self.wanted, "directional": 1 - along, "structure": changed}

    def weighed(self, terms: dict[str, Tensor]) -> Tensor:
        """(N,) the weighed sum of the three losses."""
        return sum((getattr(self.weights, name) * terms[name] for name in TERMS), torch.zeros(()))

    def loss(self, pixels_N3HW: Tensor) -> Tensor:
        """(N,) the weighed sum."""
        return self.weighed(self.terms(pixels_N3HW))

    def quality(self, embedding: Tensor, weights: RankingWeights) -> Tensor:
        """(N,) by which edited pictures with these embeddings (N, E) are ranked: their likeness to the editing prompt
        and to the source, and the likeness of the pictures' change to the prompts'.
        """
        along = torch.cosine_similarity(embedding - self.image, self.change[None], dim=-1, eps=1e-6)
        alike = weights.text * (embedding @ self.wanted) + weights.image * (embedding @ self.image)
        return alike + weights.directional * along
