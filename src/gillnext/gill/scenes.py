"""What the UNet is trained to denoise, where generation goes through it: the turns' pictures with their layouts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gillnext.adapter import buckets
from gillnext.adapter.cache_shards import Rows, stored
from gillnext.adapter.encoder import Encoder
from gillnext.adapter.grounding import pad
from gillnext.gill import visual
from gillnext.gill.tables import Captions, Table, encoded
from gillnext.layouts import Layout


class Scenes:
    """Rows for `adapter.objective.noised`, which reads them as it reads a cache's: a number for each layout.

    Pictures are squares of the base's own size; of boxes the largest `slots` count.
    """

    def __init__(
        self, encoder: Encoder, layouts: Sequence[Layout], pictures: Sequence[Path], captions: Captions,
        slots: int, precision: str, work: Path,
    ) -> None:  # fmt: skip
        self.layouts, self.captions, self.slots = layouts, captions, slots
        self.frame = buckets.square(encoder.base.side)
        found = [buckets.kept(self.frame, layout.names, layout.boxes, 0.0, slots) for layout in layouts]
        self.names, self.boxes = [names for names, _, _ in found], [boxes for _, boxes, _ in found]

        def part(rows: slice) -> Table:
            images = [self.frame.pixels(Image.fromarray(visual.read(path))) for path in pictures[rows]]
            return {"latents": stored(encoder.latents(np.stack(images)), precision, "latents")}

        about = [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in pictures]
        made_from = encoder.base.sha256, str(encoder.pipeline.dtype), precision
        self.latents = encoded(work, "latents", len(pictures), part, about, *made_from)["latents"]
        self.phrases = {name: encoder.phrase(name) for name in sorted({n for names in self.names for n in names})}
        self.empty_states, self.empty_pooled = encoder.nothing()

    def read(self, pick: Tensor) -> Rows:
        """The rows of these numbers."""
        rows = pick.tolist()
        states, pooled = self.captions([self.layouts[i].caption for i in rows])
        boxes, real = pad([self.boxes[i] for i in rows], self.slots)
        time_ids = torch.tensor([self.frame.conditions], dtype=torch.float32).repeat(len(rows), 1)
        width = len(next(iter(self.phrases.values()))) if self.phrases else states.shape[-1]
        phrases = torch.zeros(len(rows), self.slots, width)
        for i, row in enumerate(rows):
            for j, name in enumerate(self.names[row]):
                phrases[i, j] = self.phrases[name]
        return Rows(self.latents[pick].float(), states, pooled, time_ids, boxes, real, phrases)
