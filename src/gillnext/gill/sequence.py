"""A conversation as the LM reads it: its turns' texts, a line each, with pictures as embeddings among the words.

A picture stands after its turn's text, as K slots that the visual prefix fills; the [IMG] tokens follow at the end. A
conversation that is longer than the LM reads loses its oldest turns.

Letters: B rows, L tokens, K slots a picture, P pictures of all rows, V visual features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from gillnext.conversations import Turn
from gillnext.runtime.errors import UserError

WORD = -1  # in `slots`: a word stands here, no picture


@dataclass(frozen=True)
class Texts:
    """Rows of tokens, padded on the right, and the pictures among them.

    ids and mask (B, L) int64; mask is 1 where a token is. slots (B, L) int64: which of the P·K embeddings of pictures
    stands there, or `WORD`; pictures (P, V): their features. Both None where there are no pictures.
    """

    ids: Tensor
    mask: Tensor
    slots: Tensor | None = None
    pictures: Tensor | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def part(self, index: int, parts: int) -> Texts:
        """Every `parts`-th row from `index` on."""
        slots = None if self.slots is None else self.slots[index::parts]
        return Texts(self.ids[index::parts], self.mask[index::parts], slots, self.pictures)

    def to(self, device: torch.device | str) -> Texts:
        moved = {name: value.to(device) for name, value in vars(self).items() if value is not None}
        return replace(self, **moved)


@dataclass(frozen=True)
class Passage:
    """One row: ids, and slots as in `Texts` but counted from its own first picture. shown: the turns whose picture is
    among them. cut: how many of the oldest turns are left out, one that is left out in part among them.
    """

    ids: list[int]
    slots: list[int]
    shown: tuple[int, ...]
    cut: int


def limit(language: PreTrainedModel, images: int, most: int) -> int:
    """Tokens of a conversation at most: `most`, or what the LM's positions leave beside `images` [IMG] tokens."""
    positions = getattr(language.config, "max_position_embeddings", None)
    return min(most, positions - images) if positions else most


def passage(
    tokenizer: PreTrainedTokenizerBase, turns: Sequence[Turn], shown: Sequence[bool], prefix: int, most: int
) -> Passage:
    """The turns in `most` tokens. `shown`: whose pictures are seen; never the last one's, which is asked for."""
    last = len(turns) - 1
    pieces: list[list[tuple[int, bool]]] = []  # of each turn: tokens, and whether each is a picture's slot
    for i, (turn, seen) in enumerate(zip(turns, shown, strict=True)):
        seen = seen and i < last
        line = turn.text + "\n" * (
            i < last and not seen
        )  # cut as a whole: published BPEs join a line's end to its stop
        piece = [(token, False) for token in tokenizer.encode(line, add_special_tokens=False)]
        if seen:
            piece += [(0, True)] * prefix
            piece += [(token, False) for token in tokenizer.encode("\n", add_special_tokens=False)]
        pieces.append(piece)
    cut, length = 0, sum(map(len, pieces))
    while length > most and cut < last:
        length -= len(pieces[cut])
        cut += 1
    tokens = [token for piece in pieces[cut:] for token in piece][-most:]
    count = iter(range(len(tokens)))
    return Passage(
        ids=[token for token, _ in tokens],
        slots=[next(count) if slot else WORD for _, slot in tokens],
        shown=tuple(i for i in range(cut, last) if shown[i]),
        cut=cut + (length > most),
    )


def padded(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Ids and mask (B, L) of rows of tokens, padded on the right with 0: what stands there is masked."""
    found = [torch.tensor(row, dtype=torch.int64) for row in rows]
    mask = pad_sequence([torch.ones_like(row) for row in found], batch_first=True)
    return pad_sequence(found, batch_first=True), mask


def collate(passages: Sequence[Passage], pictures_PV: Tensor, prefix: int) -> Texts:
    """The rows as one batch; `pictures_PV` are the features of all that the passages show, one row after the other."""
    ids, mask = padded([row.ids for row in passages])
    if not len(pictures_PV):
        return Texts(ids, mask)
    rows, first = [], 0
    for row in passages:
        rows.append(torch.tensor([WORD if slot == WORD else first + slot for slot in row.slots], dtype=torch.int64))
        first += prefix * len(row.shown)
    return Texts(ids, mask, pad_sequence(rows, batch_first=True, padding_value=WORD), pictures_PV)


def picture_of(turn: Turn, root: Path, where: str) -> Path:
    """The file of a turn's picture; `UserError`, which names `where` and the file, unless it is there."""
    path = root / turn.picture
    if not path.is_file():
        remedy = "put the file there, or write the conversations again"
        raise UserError(f"its picture {turn.picture!r} is missing", where=f"{where}: {path}", remedy=remedy)
    return path


def end_of(tokenizer: Any, where: Path) -> int:
    """The token that ends a text; `UserError` where the LM has none."""
    if tokenizer.eos_token_id is None:
        remedy = "name its end in tokenizer_config.json (eos_token)"
        raise UserError("the language model has no token that ends a text", where=str(where), remedy=remedy)
    return int(tokenizer.eos_token_id)
