"""What a decision is between: for conversations up to some turn, the album's nearest picture and a drawn one.

Letters: N conversations, R [IMG] tokens, H width of the LM, E of the retrieval embeddings, D features of the head.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from gillnext import conversations
from gillnext.chat import measures
from gillnext.chat.artist import Artist
from gillnext.chat.index import Index, tell
from gillnext.chat.policy import features_of
from gillnext.chat.similarity import ImageText
from gillnext.chat.ways import true_layout
from gillnext.config.model import Config
from gillnext.conversations import Conversation
from gillnext.gill.talker import Talker
from gillnext.instruments.detections import Detector, labels_of
from gillnext.layouts import Layout
from gillnext.runtime import seeds
from gillnext.runtime.errors import UserError
from gillnext.runtime.progress import Progress
from gillnext.sample.work import Keys, name_of, save_png
from gillnext.score.images import ImageSet
from gillnext.score.models import confident, detected

SPARE = 8  # pictures that are looked at for each example beyond its own, at first; then four times as many


@dataclass(frozen=True)
class Example:
    """A conversation up to a turn whose picture is known. `root`: what its pictures' paths are relative to."""

    row: Conversation
    root: Path

    @property
    def truth(self) -> Layout:
        return true_layout(self.row)


def examples(path: Path, seed: int, count: int | None = None) -> list[Example]:
    """Conversations of a file, or `count` of them, each up to one of its turns with a known picture; `seed` and its id
    say which. `UserError` where no conversation has such a turn.
    """
    found = []
    for row in conversations.stream(path):
        known = [i for i, turn in enumerate(row.turns, 1) if turn.picture and turn.layout]
        if known:
            end = known[int(seeds.rng("decision-turn", seed, row.id).integers(len(known)))]
            found.append(Example(dataclasses.replace(row, turns=row.turns[:end]), path.parent))
    if not found:
        remedy = 'turns need "picture", "caption" and "objects"'
        raise UserError("no conversation with a picture that is known", where=str(path), remedy=remedy)
    order = seeds.rng("decisions", seed).permutation(len(found))[:count]
    return [found[int(i)] for i in np.sort(order)]


@dataclass(frozen=True)
class Compared:
    """What is known of N examples: their [IMG] states (N, R, H), the index' nearest picture with its score (N,), and
    the drawn picture.
    """

    asked: list[Example]
    images_NRH: Tensor
    scores_N: np.ndarray
    found: list[Path]
    drawn: list[Path]

    @property
    def features_ND(self) -> np.ndarray:
        return features_of(self.images_NRH, self.scores_N)

    def gains(self, scorer: ImageText | Detector) -> np.ndarray:
        """(N,) how much better what was found fits than what was drawn: by the similarity to the true caption, or by
        the F1 of the classes that a detector finds.
        """
        if not isinstance(scorer, ImageText):
            found, drawn = self.f1(scorer)
            return found - drawn
        texts = scorer.texts([example.truth.caption for example in self.asked])
        found, drawn = ((scorer.pictures(paths) * texts).sum(1) for paths in (self.found, self.drawn))
        return found - drawn

    def f1(self, detector: Detector) -> tuple[np.ndarray, np.ndarray]:
        """(N,) F1 of the classes that the evaluator finds in what was found, and in what was drawn."""
        labels, truth = labels_of(detector), [example.truth for example in self.asked]
        wanted = [{labels[name] for name in row.names if name in labels} for row in truth]

        def of(paths: list[Path]) -> np.ndarray:
            seen = confident(detected(ImageSet(Path("."), truth, paths), detector), detector)
            return measures.classes(wanted, [set(one.labels.tolist()) for one in seen])["f1"].right

        return of(self.found), of(self.drawn)


def nearest(index: Index, asked: Sequence[Example], embeddings_NE: np.ndarray) -> tuple[np.ndarray, list[Path]]:
    """For each example the score and path of the nearest picture that is there, unchanged, and not its own."""
    own = [{(e.root / turn.picture).resolve() for turn in e.row.turns if turn.picture} for e in asked]
    problems: dict[int, str] = {}

    def fits(i: int, place: int) -> bool:
        if place not in problems:
            problems[place] = index.problem(place)
        return not problems[place] and index.path(place).resolve() not in own[i]

    best, paths = np.zeros(len(asked), np.float32), dict[int, Path]()
    k, left = SPARE + max(map(len, own)), list(range(len(asked)))
    while left:
        scores, places = index.find(embeddings_NE[left], k)
        for i, values, row in zip(left, scores, places.tolist(), strict=True):
            first = next((n for n, place in enumerate(row) if fits(i, place)), None)
            if first is not None:
                best[i], paths[i] = values[first], index.path(row[first])
        left = [i for i in left if i not in paths]
        if k >= len(index):
            break
        k *= 4
    tell({index.paths[place]: problem for place, problem in problems.items() if problem}, "--index", len(index))
    if left:
        what = f"the index has no picture for {asked[left[0]].row.id!r} but its own"
        raise UserError(what, where="--index", remedy="make an index of more pictures")
    return best, [paths[i] for i in range(len(asked))]


def compare(
    cfg: Config, talker: Talker, index: Index, artist: Artist, asked: list[Example], name: str, work: Path
) -> Compared:
    """Find and draw the pictures of examples; drawn ones lie in the folder `work`, and are not drawn again.

    Drawn from the mapper's states; by an artist with a planner in the boxes that it plans.
    """
    roots = [example.root for example in asked]
    read = talker.read([example.row.turns for example in asked], roots)
    best, found = nearest(index, asked, read.embeddings.numpy())
    size, counts = cfg.sample.batch, Counter[str]()
    with Progress(f"decide, {name}", len(asked), "images") as progress:
        for start in range(0, len(asked), size):
            batch = range(start, min(start + size, len(asked)))
            if not all((work / name_of(i)).exists() for i in batch):
                keys: Keys = [(cfg.run.seed, name, i) for i in batch]
                part = slice(start, batch.stop)
                boxes = artist.plan([asked[i].row.turns for i in batch], counts) if artist.planner else None
                captions = [asked[i].row.id for i in batch]
                images = artist.draw(captions, keys, boxes, (read.states[part], read.pooled[part]))
                for i, image in zip(batch, images, strict=True):
                    save_png(work / name_of(i), image)
            progress.step(len(batch))
    return Compared(asked, read.images, best, found, [work / name_of(i) for i in range(len(asked))])
