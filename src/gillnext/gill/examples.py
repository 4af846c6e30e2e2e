"""Training examples: a turn that has a picture and its caption, and all that was said, and some that was seen, before.

Which conversations, which of their turns and which earlier pictures step t sees depends on the seed and t alone.

Letters: B samples of a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDPMScheduler
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from gillnext.adapter import objective
from gillnext.conversations import Conversation, Turn
from gillnext.gill import sequence
from gillnext.gill.batches import Batch
from gillnext.gill.scenes import Scenes
from gillnext.gill.sequence import Texts
from gillnext.gill.tables import Captions
from gillnext.runtime import seeds
from gillnext.runtime.errors import UserError

CONTEXT = 0.5  # how often a picture of an earlier turn is shown
POOL = 4  # batches that are drawn at a time; of their rows, sorted by length, one batch is taken: it pads little


@dataclass(frozen=True)
class Reading:
    """How conversations become tokens: the LM's tokenizer, the token that ends a text, K slots a picture, and the most
    tokens of a conversation.
    """

    tokenizer: PreTrainedTokenizerBase
    end: int
    prefix: int
    most: int

    def caption(self, text: str) -> list[int]:
        return [*self.tokenizer.encode(text, add_special_tokens=False)[: self.most - 1], self.end]

    def said(self, turns: Sequence[Turn], shown: Sequence[bool]) -> sequence.Passage:
        return sequence.passage(self.tokenizer, turns, shown, self.prefix, self.most)


class Corpus:
    """The conversations that have a turn to train on, and the files of all their pictures.

    `targets[i]` are (conversation, turn) with picture and caption, `of[n]` those of conversation n by their numbers;
    `pictures` the distinct files, and `number` the place of each turn's picture among them.
    """

    def __init__(self, rows: Sequence[Conversation], path: Path) -> None:
        self.rows: list[Conversation] = []
        self.targets: list[tuple[int, int]] = []
        self.of: list[list[int]] = []
        self.number: dict[str, int] = {}
        self.pictures: list[Path] = []
        for n, row in enumerate(rows, 1):
            own = [k for k, turn in enumerate(row.turns) if turn.picture and turn.layout]
            if not own:
                continue
            self.of.append(list(range(len(self.targets), len(self.targets) + len(own))))
            self.targets += [(len(self.rows), k) for k in own]
            self.rows.append(row)
            for k, turn in enumerate(row.turns[: own[-1] + 1], 1):
                if turn.picture and turn.picture not in self.number:
                    self.number[turn.picture] = len(self.pictures)
                    self.pictures.append(sequence.picture_of(turn, path.parent, f"{path}, row {n}, turn {k}"))
        self.skipped = len(rows) - len(self.rows)
        if not self.rows:
            remedy = "a turn to train on has 'picture', 'caption' and 'objects'"
            raise UserError("no conversation with a captioned picture", where=str(path), remedy=remedy)

    def turns(self, target: int) -> tuple[Turn, ...]:
        """All turns up to a target's."""
        row, turn = self.targets[target]
        return self.rows[row].turns[: turn + 1]

    def pick(self, rng: np.random.Generator, count: int) -> list[int]:
        """Targets (count,), of conversations that are distinct and of like length."""
        if len(self.rows) < count:
            what = f"a batch of {count} conversations out of {len(self.rows)}"
            raise UserError(what, where="gill.batch", remedy="give a smaller batch, or more conversations")
        pool = rng.permutation(len(self.rows))[: POOL * count]
        drawn = [self.of[row][int(rng.integers(len(self.of[row])))] for row in pool]
        drawn.sort(key=lambda target: sum(len(turn.text) for turn in self.turns(target)))
        first = int(rng.integers(len(drawn) // count)) * count
        return drawn[first : first + count]


class Examples:
    """The batches of steps. `features` (N, V) are of the corpus' pictures, `named` of which are captioned a step;
    `scenes` and their scheduler are there where the UNet is run, `drop` the share of samples without grounding.
    """

    def __init__(
        self, corpus: Corpus, reading: Reading, features: Tensor, captions: Captions, named: int, drop: float = 0.0,
        scenes: Scenes | None = None, scheduler: DDPMScheduler | None = None,
    ) -> None:  # fmt: skip
        self.corpus, self.reading, self.features, self.captions = corpus, reading, features, captions
        self.named, self.drop, self.scenes, self.scheduler = named, drop, scenes, scheduler

    def draw(self, count: int, names: tuple[str | int, ...], share: tuple[int, int] = (0, 1)) -> tuple[Batch, int]:
        """The batch of `count` samples that `names` (seed, step) determine, and how many turns were cut from it.

        `share` (index, of) gives `Batch.part` of it.
        """
        rng, corpus = seeds.rng("gill", *names), self.corpus
        pick = corpus.pick(rng, count)
        turns = [corpus.turns(target) for target in pick]
        chance = [rng.random(len(row)) < CONTEXT for row in turns]
        passages = [
            self.reading.said(row, [bool(turn.picture and seen) for turn, seen in zip(row, kept, strict=True)])
            for row, kept in zip(turns, chance, strict=True)
        ]
        index, shares = share
        own, said = turns[index::shares], passages[index::shares]
        shown = [corpus.number[row[k].picture] for row, of in zip(own, said, strict=True) for k in of.shown]
        told = [row[-1].layout.caption for row in own if row[-1].layout]
        states, pooled = self.captions(told)
        captioned, captions = self.to_caption(names, share)
        batch = Batch(
            features=self.features[[corpus.number[row[-1].picture] for row in own]],
            captions=captions,
            captioned=captioned,
            texts=sequence.collate(said, self.features[shown], self.reading.prefix),
            states=states,
            pooled=pooled,
            denoising=self.noised(pick, names, share),
        )
        return batch, sum(passage.cut for passage in passages)

    def to_caption(self, names: tuple[str | int, ...], share: tuple[int, int]) -> tuple[Tensor, Texts]:
        """Features of pictures of any turn, and their captions: a batch of its own, as captions are short and cheap."""
        corpus, (index, shares) = self.corpus, share
        drawn = seeds.rng("gill", "captions", *names).integers(len(corpus.targets), size=self.named)[index::shares]
        shown = [corpus.turns(int(target))[-1] for target in drawn]
        captions = [self.reading.caption(turn.layout.caption) for turn in shown if turn.layout]
        return self.features[[corpus.number[turn.picture] for turn in shown]], Texts(*sequence.padded(captions))

    def noised(self, pick: list[int], names: tuple[str | int, ...], share: tuple[int, int]) -> objective.Batch | None:
        if self.scenes is None or self.scheduler is None:
            return None
        generator, scenes = seeds.torch_generator("gill", "noise", *names), self.scenes
        like_a_cache: Any = scenes
        return objective.noised(like_a_cache, self.scheduler, torch.tensor(pick), self.drop, generator, share=share)
