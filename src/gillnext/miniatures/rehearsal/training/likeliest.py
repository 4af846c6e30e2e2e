"""How often a zero-shot detector is right about scenes, by the evaluators' own path, and the thresholds of its card."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gillnext.boxes import iou
from gillnext.config.data import ZeroShot
from gillnext.instruments import open_vocabulary, zero_shot
from gillnext.miniatures.rehearsal.training.scenes import WORDS, Picture

View = Callable[[Picture], Image.Image]  # a picture as a detector is meant to get it
LOW = ZeroShot(least=0.02)  # under which the likeliest box of nearly every name is seen
TEXTS = (0.15, 0.25, 0.35, 0.45)  # of which the best on training scenes is taken: Grounding DINO's threshold of tokens
SHARE = 0.1  # of the likeliest right boxes, those whose scores are left below the threshold
BY, BOX = "by their English names (`names.tsv`)", "likeliest box"
TOLD = """Thresholds, chosen on training scenes: a token's score {text:g} (`zero_shot.text`, Grounding
DINO alone), a box's {confident:g}, which nine in ten of the likeliest right boxes reach."""


def measured(detector: zero_shot.ZeroShotDetector, pictures: list[Picture], view: View) -> tuple[float, np.ndarray]:
    """Share of objects whose likeliest box is right, and the scores of the right ones."""
    evaluator = open_vocabulary.ZeroShotEvaluator(detector, WORDS)
    found = evaluator.detect_named([np.asarray(view(p)) for p in pictures], [p.names for p in pictures], 16)
    right = []
    for picture, one in zip(pictures, found, strict=True):
        for name, box in zip(picture.names, picture.boxes, strict=True):
            best = one.best(evaluator.labels[name])
            if best is not None and iou(box[None], best[0])[0, 0] >= 0.5:
                right.append(best[1])
    return len(right) / sum(len(p.names) for p in pictures), np.array(right)


def calibrated(folder: Path, pictures: list[Picture], view: View) -> tuple[ZeroShot, float]:
    """The thresholds with which most objects are found, and the score that most of their boxes reach."""
    tried = {}
    for text in TEXTS:
        settings = dataclasses.replace(LOW, text=text)
        tried[settings] = measured(zero_shot.load(folder, settings), pictures, view)
    best = max(tried, key=lambda settings: tried[settings][0])
    return best, float(np.quantile(tried[best][1], SHARE)) if len(tried[best][1]) else 0.0


def measures(folder: Path, seen: list[Picture], held_out: list[Picture], view: View) -> tuple[Any, float, str]:
    """The network in `folder`, the share of held-out objects whose box is right, and thresholds by `seen` scenes."""
    settings, confident = calibrated(folder, seen, view)
    detector = zero_shot.load(folder, settings)
    success, _ = measured(detector, held_out, view)
    return detector.network, success, TOLD.format(text=settings.text, confident=round(confident, 2))
