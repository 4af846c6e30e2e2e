"""A trained Gill for inference: conversations in; what finds pictures, draws them and captions them out. No UNet.

    talker = Talker.load(Path("gill"), Path("language"), Path("eyes"))
    read = talker.read([story.turns for story in stories], root=Path("conversations"))
    found = talker.see(pictures) @ read.embeddings[0]

Letters: N conversations or pictures, R [IMG] tokens, H width of the LM, E of the retrieval embeddings, T text states,
C their width, P that of the pooled state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gillnext.conversations import Turn
from gillnext.gill import folder, sequence
from gillnext.gill.examples import Reading
from gillnext.gill.model import Gill
from gillnext.gill.visual import Eyes
from gillnext.language import model as language_model
from gillnext.runtime import contents
from gillnext.runtime.errors import UserError


@dataclass(frozen=True)
class Read:
    """What the [IMG] tokens say after each of N conversations, all float32 on the CPU.

    images (N, R, H): the tokens' hidden states, which `Talker.mapped` takes. embeddings (N, E): of length 1, to find
    pictures by dot product. states (N, T, C) and pooled (N, P): what the UNet gets for its text encoder's. cut: how
    many of the oldest turns were left out, as the conversation is longer than what the LM reads.
    """

    images: Tensor
    embeddings: Tensor
    states: Tensor
    pooled: Tensor
    cut: tuple[int, ...]


class Talker:
    """The frozen LM and eyes with what was trained around them. `hash`: SHA-256 of the folder of what was trained;
    `made_with`: those of the language model, the eyes and the base that it was trained with; `trained`: how, with
    `images` [IMG] tokens, by which `generation`, in how many `steps`.
    """

    def __init__(
        self, gill: Gill, eyes: Eyes, reading: Reading, hash: str, made_with: dict[str, str], trained: dict[str, Any]
    ) -> None:
        self.gill, self.eyes, self.reading, self.hash, self.made_with = gill, eyes, reading, hash, made_with
        self.trained = trained

    @classmethod
    def load(
        cls, gill: Path, language: Path, eyes: Path, device: str = "cpu", dtype: torch.dtype | None = None
    ) -> Talker:
        """What `gillnext gill` wrote, with the LM and the visual encoder that it was trained with.

        dtype: of the frozen parts; None: float32. `UserError` where one of them is another, or something is missing.
        """
        told = folder.about(gill)
        for name, given in (("language", language), ("eyes", eyes)):
            if contents.sha256(given) != told["hashes"][name]:
                remedy = f"give the {name} that it was trained with, or train anew"
                raise UserError(f"{given} is not the {name} that it was trained with", where=str(gill), remedy=remedy)
        dtype = dtype or torch.float32
        model, tokenizer = language_model.load(language, device, dtype=dtype, use_safetensors=True)
        trained = folder.load(gill, model).to(device)
        reading = Reading(tokenizer, sequence.end_of(tokenizer, language), trained.sizes.prefix, told["length"])
        seen = Eyes.load(eyes, device, dtype, "grid" if trained.sizes.cells else "pooled")
        how = {"images": trained.sizes.images, "generation": told["generation"], "steps": told["steps"]}
        return cls(trained, seen, reading, contents.sha256(gill), told["hashes"], how)

    @property
    def device(self) -> torch.device:
        return self.gill.image_RH.device

    @torch.no_grad()
    def read(
        self,
        turns: Sequence[Sequence[Turn]],
        root: Path | Sequence[Path],
        *,
        pictures: bool = True,
        batch: int = 32,
    ) -> Read:
        """What the [IMG] tokens say after each conversation.

        root: the folder that the turns' pictures are relative to, or one for each conversation. The last turn's picture
        is never shown to the LM, as it is what is asked for; `pictures=False` shows none. `UserError` names
        conversation, turn and file where a picture that is shown is missing.
        """
        roots = [root] * len(turns) if isinstance(root, Path) else root
        said = [self.reading.said(row, [pictures and bool(turn.picture) for turn in row]) for row in turns]
        order = sorted(range(len(said)), key=lambda i: len(said[i].ids))  # rows of like length: little is padded
        images, back = [], torch.tensor(order).argsort()
        for first in range(0, len(order), batch):
            rows = order[first : first + batch]
            shown = [
                sequence.picture_of(turns[i][k], roots[i], f"conversation {i + 1}, turn {k + 1}")
                for i in rows
                for k in said[i].shown
            ]
            texts = sequence.collate([said[i] for i in rows], self.eyes.features(shown), self.reading.prefix)
            images.append(self.gill.image_states(texts.to(self.device)).cpu())
        images_NRH = torch.cat(images)[back]
        embeddings = self.gill.found(images_NRH.to(self.device)).cpu()
        return Read(images_NRH, embeddings, *self.mapped(images_NRH), tuple(row.cut for row in said))

    @torch.no_grad()
    def see(self, pictures: Sequence[Path | np.ndarray], batch: int = 64) -> Tensor:
        """Embeddings (N, E) of length 1, float32, of pictures: files, or (H, W, 3) uint8."""
        return self.gill.picture_embedding(self.eyes.features(pictures, batch).to(self.device)).cpu()

    @torch.no_grad()
    def caption(self, pictures: Sequence[Path | np.ndarray], most: int = 48, batch: int = 64) -> list[str]:
        """A caption of each picture, token by token the likeliest, up to the LM's end or `most` tokens."""
        captions: list[str] = []
        for i in range(0, len(pictures), batch):
            features = self.eyes.features(pictures[i : i + batch], batch).to(self.device)
            said = self.gill.caption(features, self.reading.end, most)
            captions += [str(self.reading.tokenizer.decode(row, skip_special_tokens=True)) for row in said]
        return captions

    @torch.no_grad()
    def mapped(self, images_NRH: Tensor) -> tuple[Tensor, Tensor]:
        """States (N, T, C) and pooled states (N, P) of hidden states of [IMG] tokens: the mapper alone."""
        parts = [self.gill.mapped(part.to(self.device)) for part in images_NRH.split(256)]
        return torch.cat([states.cpu() for states, _ in parts]), torch.cat([pooled.cpu() for _, pooled in parts])
