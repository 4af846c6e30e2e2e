"""Edits a picture by a text: anchors, candidate boxes, their pictures, the learned choice, the ranking.

Letters: A anchors, K windows of each.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gillnext.config.regions import Regions
from gillnext.layouts import Box
from gillnext.regions import asks, candidates, learn, network
from gillnext.regions.asks import Ask
from gillnext.regions.eyes import Eyes, as_pixels, smoothed, spread
from gillnext.regions.inpaint import Filling, Inpainter, load
from gillnext.regions.objective import TERMS, ImageText, Objective
from gillnext.runtime import seeds

CENTRE: Box = (0.25, 0.25, 0.75, 0.75)
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
# way -> what it is
WAYS = {
    "learned": "the region network, trained on this edit, and the ranking",
    "untrained": "the same network before its first step, and the ranking",
    "random": "a random window at every anchor, and the ranking: what upstream does in effect",
    "searched": "the ranking over all candidates, without a network",
    "least": "the candidate of the least loss, without a network",
    "centre": "a box in the picture's middle",
    "whole": "the whole picture",
    "true": "the true box: the ceiling",
}
SEEDED = ("learned", "untrained", "random")  # ways that a seed decides on


@dataclass(frozen=True)
class Candidates:
    """All that can be chosen from: anchors (row, column), boxes and pictures, A x K."""

    anchors: list[tuple[int, int]]
    boxes: list[list[Box]]
    pictures: np.ndarray  # (A, K, H, W, 3) uint8
    features: Tensor  # (A, K, R)
    losses: learn.Table
    quality: Tensor  # (A, K)


@dataclass(frozen=True)
class Result:
    """An edited picture (H, W, 3) uint8, its box, and how it was chosen."""

    picture: np.ndarray
    box: Box
    about: dict[str, Any]


class Editor:
    """The frozen models that edits are made with, and the settings they are made in."""

    def __init__(self, settings: Regions, inpainter: Inpainter, eyes: Eyes, clip: ImageText) -> None:
        self.settings, self.inpainter, self.eyes, self.clip = settings, inpainter, eyes, clip

    @classmethod
    def open(
        cls, settings: Regions, base: Path, inpainting: Path | None, eyes: Path, clip: Path, device: str,
        dtype: torch.dtype | None = None,
    ) -> Editor:  # fmt: skip
        """The models of these folders; `UserError` where one holds another model than it should."""
        how = Filling(settings.steps, settings.guidance, settings.feather, settings.crop, settings.side)
        inpainter = load(base, how, inpainting, device, dtype)
        return cls(settings, inpainter, Eyes.load(eyes, device), ImageText(clip, device))

    def fill(self, ask: Ask, source: np.ndarray, boxes: Sequence[Box], seed: int) -> np.ndarray:
        """The source with each of N boxes filled, (N, H, W, 3) uint8. The noise is the edit's own, for every box the
        same.
        """
        parts, size = [], self.settings.batch_size
        prompt, negative = ask.prompt, ask.source
        if self.settings.fill == "change":
            prompt, negative = asks.change(ask.source, ask.prompt), asks.removed(ask.source, ask.prompt)
        if self.settings.negative == "empty":
            negative = ""
        for start in range(0, len(boxes), size):
            some = boxes[start : start + size]
            parts.append(self.inpainter.fill(
                np.repeat(source[None], len(some), 0), some, [prompt] * len(some), [negative] * len(some),
                [(seed, ask.file, ask.number)] * len(some),
            ))  # fmt: skip
        return np.concatenate(parts)

    def candidates(self, ask: Ask, source: np.ndarray, seed: int) -> Candidates:
        """Anchors and boxes of a picture, what is drawn in each, and what the objective says of it."""
        settings, device = self.settings, self.eyes.mean.device
        pixels = as_pixels(source[None]).to(device)
        with torch.no_grad():
            attention, states, _ = self.eyes.see(pixels)
        looked = smoothed(attention[0].float().cpu().numpy(), settings.smooth)
        anchors = spread(looked, settings.point_number, settings.apart)
        most = min(settings.max_window_size, self.eyes.grid)
        sides = candidates.sides(settings.windows, settings.min_window_size, most)
        seen = states[0].float().cpu().numpy() if settings.fitted else None
        boxes = candidates.of(anchors, sides, self.eyes.grid, seen)
        pictures = self.distinct(ask, source, [box for own in boxes for box in own], seed)
        objective = Objective(self.eyes, self.clip, pixels[0], (ask.source, ask.prompt), settings.objective)
        edited = as_pixels(pictures).to(device)
        shape = (len(boxes), len(boxes[0]))
        known = learn.table(objective, edited.unflatten(0, shape))
        quality = objective.quality(known.embeddings.flatten(0, 1), settings.ranking).unflatten(0, shape)
        drawn, features = pictures.reshape(*shape, *source.shape), network.features(states[0], boxes)
        return Candidates(anchors, boxes, drawn, features, known, quality)

    def distinct(self, ask: Ask, source: np.ndarray, boxes: Sequence[Box], seed: int) -> np.ndarray:
        """`fill`, each different box once: windows that the border cuts can be equal."""
        different = list(dict.fromkeys(boxes))
        drawn = dict(zip(different, self.fill(ask, source, different, seed), strict=True))
        return np.stack([drawn[box] for box in boxes])

    def pick(self, found: Candidates, scores_AK: Tensor) -> tuple[int, int]:
        """The anchor and window of the best rank, of each anchor's window of the highest score."""
        windows = scores_AK.argmax(-1)
        quality = found.quality[torch.arange(len(windows)), windows]
        anchor = int(quality.argmax())
        return anchor, int(windows[anchor])

    def chosen(self, way: str, ask: Ask, found: Candidates, seed: int) -> tuple[int, int]:
        """Which candidate a way chooses."""
        if way == "random":
            rng = seeds.rng("random-regions", seed, ask.file, ask.number)
            return self.pick(found, torch.from_numpy(rng.random(found.quality.shape)))
        if way in ("searched", "least"):
            best = int((found.quality if way == "searched" else -found.losses.losses).argmax())
            return divmod(best, found.quality.shape[1])
        before, after = learn.learn(found.features, found.losses, self.settings, seed, ask.file, ask.number)
        return self.pick(found, after if way == "learned" else before)

    def edit(self, way: str, ask: Ask, found: Candidates, seed: int) -> Result:
        """An edit by a way that chooses among the candidates."""
        anchor, window = self.chosen(way, ask, found, seed)
        terms = {name: round(float(found.losses.terms[name][anchor, window]), 6) for name in TERMS}
        about = {
            "anchor": anchor, "window": window, "anchors": [list(one) for one in found.anchors], "loss": terms,
            "quality": round(float(found.quality[anchor, window]), 6),
        }  # fmt: skip
        return Result(found.pictures[anchor, window], found.boxes[anchor][window], about)

    def in_box(self, ask: Ask, source: np.ndarray, box: Box, seed: int) -> Result:
        """An edit in a given box."""
        return Result(self.fill(ask, source, [box], seed)[0], box, {})


def settings_of(settings: Regions) -> dict[str, Any]:
    """The settings that an edit depends on."""
    left_out = ("dino", "training", "edits", "seeds", "batch_size", "eyes", "inpainting")
    return {key: value for key, value in dataclasses.asdict(settings).items() if key not in left_out}
