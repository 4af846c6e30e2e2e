"""What annotation loses when memory runs out: errors are injected into the annotator's calls, and its images counted.

Other jobs hold memory too, so a call has room for a number of images that is drawn for it, from one to twice the batch;
one image in `TOO_LARGE` fits at no time. The stage halves what fails (`runtime.halving`); beside it stands a loop that
gives up a whole batch at its first error.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import eq
from pathlib import Path

from PIL import Image

from gillnext.annotate import rows as rows_
from gillnext.annotate.base import Annotator, Found, Names
from gillnext.annotate.rows import OUT_OF_MEMORY
from gillnext.annotate.stage import answer_batch, batches, load_annotator
from gillnext.config import Config
from gillnext.runtime import seeds, training

ROWS = 256  # images at most
TOO_LARGE = 64


class Starved:
    """An annotator that runs out of memory; `failed` tells of each call whether it did."""

    def __init__(self, annotator: Annotator, batch: int, never: frozenset[str], seed: int) -> None:
        self.annotator, self.most, self.never = annotator, 2 * batch, never
        self.name, self.convention, self.needs_names = annotator.name, annotator.convention, annotator.needs_names
        self.max_image_size = annotator.max_image_size
        self.rng = seeds.rng("oom", seed)
        self.failed: list[bool] = []

    def annotate(
        self, images: Sequence[Image.Image], captions: Sequence[str], names: Sequence[Names]
    ) -> list[list[Found]]:
        """The annotator's answers; `MemoryError` where there is no room for them."""
        room = int(self.rng.integers(1, self.most, endpoint=True))
        self.failed.append(len(images) > room or not self.never.isdisjoint(captions))
        if self.failed[-1]:
            raise MemoryError(f"out of memory: {len(images)} images, injected")
        return self.annotator.annotate(images, captions, names)


def survival(config: Config, model: Path | str, indexes: Sequence[Path]) -> dict[str, tuple[float, int]]:
    """Shares, each with the number that it is a share of: images answered in spite of the errors, images that the loop
    without halving answers, and answers that are the same as without errors.

    Over the first `ROWS` rows of the indexes whose images are there and whose captions name something; {} without any.
    """
    training.setup(config.run.threads, config.run.device)
    annotator, vocabulary = load_annotator(config, model)
    there = [row for index in indexes for row in rows_.read_index(index) if row.path.is_file()]
    named = [row for row in there if vocabulary is None or vocabulary.find(row.caption)][:ROWS]
    never = frozenset(row.caption for row in named[TOO_LARGE // 2 :: TOO_LARGE])
    starved = Starved(annotator, config.annotate.batch, never, config.run.seed)
    images = survived = plain = same = 0
    for batch in batches(named, config.annotate.batch):
        first = len(starved.failed)
        answers, undisturbed = (answer_batch(batch, one, vocabulary) for one in (starved, annotator))
        images += len(batch)
        plain += 0 if any(starved.failed[first : first + 1]) else len(batch)
        survived += sum(answer["reason"] != OUT_OF_MEMORY for answer in answers)
        same += sum(map(eq, answers, undisturbed))
    if not images:
        return {}
    return {
        "annotation_oom_survived": (survived / images, images),
        "annotation_oom_survived_plain": (plain / images, images),
        "annotation_oom_same": (same / max(survived, 1), survived),
    }
