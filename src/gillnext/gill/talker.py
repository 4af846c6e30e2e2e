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

import numpy as np
import torch
from torch import Tensor

from gillnext.conversations import Turn


@dataclass(frozen=True)
class Read:
    """What the [IMG] tokens say after each of N conversations, all float32 on the CPU.

    images (N, R, H): the tokens' hidden states, which `Talker.mapped` takes. embeddings (N, E): of length 1, to find
    pictures by dot product. states (N, T, C) and pooled (N, P): what the UNet gets for its text encoder's. cut (N,):
    how many of the oldest turns were left out, as the conversation is longer than what the LM reads.
    """

    images: Tensor
    embeddings: Tensor
    states: Tensor
    pooled: Tensor
    cut: tuple[int, ...]


class Talker:
    """The frozen LM and eyes with what was trained around them. `hash`: SHA-256 of the folder of what was trained."""

    hash: str

    @classmethod
    def load(
        cls, gill: Path, language: Path, eyes: Path, device: str = "cpu", dtype: torch.dtype | None = None
    ) -> Talker:
        """What `gillnext gill` wrote, with the LM and the visual encoder that it was trained with.

        dtype: of the frozen parts; None: float32. `UserError` where one of them is another, or something is missing.
        """
        raise NotImplementedError

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
        raise NotImplementedError

    def see(self, pictures: Sequence[Path | np.ndarray], batch: int = 64) -> Tensor:
        """Embeddings (N, E) of length 1, float32, of pictures: files, or (H, W, 3) uint8."""
        raise NotImplementedError

    def caption(self, pictures: Sequence[Path | np.ndarray], most: int = 48, batch: int = 64) -> list[str]:
        """A caption of each picture, token by token the likeliest, up to the LM's end or `most` tokens."""
        raise NotImplementedError

    def mapped(self, images_NRH: Tensor) -> tuple[Tensor, Tensor]:
        """States (N, T, C) and pooled states (N, P) of hidden states of [IMG] tokens: the mapper alone."""
        raise NotImplementedError
