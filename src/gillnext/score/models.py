"""The models that pictures are scored with, from their folders, and what they are asked about a layout.

A closed evaluator has its classes, and a layout that names another is refused. An open one (a zero-shot detector, a
vision-language model) knows names from a file, `--names`: what a layout names beyond them is left out of its scores and
counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gillnext.config import Config
from gillnext.instruments import evaluators as box_evaluators
from gillnext.instruments import families
from gillnext.instruments import features as feature_networks
from gillnext.instruments.detections import Detections, Detector, OpenDetector, labels_of, look
from gillnext.layouts import Layout
from gillnext.runtime import collector, contents, files
from gillnext.runtime.errors import UserError
from gillnext.score import boxes, images
from gillnext.score.chance import Prior
from gillnext.score.images import ImageSet

Protocol = dict[str, str | int | float]


@dataclass(frozen=True)
class Evaluators:
    """What finds the objects: the evaluator, and another that checks it. `hashes`: digest of each one's weights."""

    first: Detector
    second: Detector
    hashes: dict[str, str]

    @property
    def protocol(self) -> Protocol:
        """What every box score depends on."""
        return {
            "boxes": "best one-to-one IoU with detections of the same class, 0 where none",
            "evaluator": self.first.description,
            "threshold": threshold(self.first),
            "rules": self.second.description,
            "resize": "none: native resolution",
        }


@dataclass(frozen=True)
class Scorers:
    """What a set is scored with. `hashes`: digest of each model's weights; `clip_name`: what `clip` is."""

    evaluators: Evaluators
    prior: Prior
    features: Any  # pictures to (B, D), as `instruments.features.load` gives it; has a `description`
    clip: Callable[[], tuple[Any, Any]]  # to torchmetrics' model and processor
    hashes: dict[str, str]
    clip_name: str = "Chinese-CLIP"


def weights(folder: Path) -> str:
    """One digest of the safetensors in a model folder, or of Inception's file; raises `UserError` where there are
    none.
    """
    if file := feature_networks.inception_file(folder):
        return contents.sha256(file)
    found = sorted(folder.glob("*.safetensors"))
    if not found:
        raise UserError("no weights (*.safetensors) here", where=str(folder), remedy="train this model first")
    return "+".join(contents.sha256(file) for file in found)


def evaluator(folder: Path, config: Config, names: Path | None = None, second: bool = False) -> Detector:
    """The box evaluator in a folder; only the `second` may be a vision-language model."""
    published = (folder / "config.json").exists() and families.backend(families.model_type(folder)) == "vlm"
    if second and names and published:
        from gillnext.annotate.evaluator import VisionLanguageEvaluator

        return VisionLanguageEvaluator.from_pretrained(folder, names, config.run.device)
    return box_evaluators.load(folder, config.run.device, names, config.zero_shot)


def evaluators(first: Path, second: Path, config: Config, names: Path | None = None) -> Evaluators:
    """Both evaluators, from their folders alone; `UserError` where they are closed and know other classes."""
    from gillnext.runtime import training

    training.setup(config.run.threads, config.run.device)
    one, other = evaluator(first, config, names), evaluator(second, config, names, second=True)
    closed = not any(isinstance(detector, OpenDetector) for detector in (one, other))
    if closed and one.classes != other.classes:
        raise UserError(
            "the evaluators know other classes", where=f"{first}, {second}", remedy="train them on the same world"
        )
    hashes = {"evaluator": weights(first), "second_evaluator": weights(second)}
    return Evaluators(one, other, hashes if closed or names is None else hashes | {"names": files.sha256(names)})


def scorers(pair: Evaluators, prior: Path, features: Path, clip: Path, config: Config) -> Scorers:
    """All models, from their folders alone."""
    with collector.spared():
        from gillnext.instruments.image_text import describe, for_torchmetrics

    hashes = {**pair.hashes, "features": weights(features), "clip": weights(clip)}
    network = feature_networks.load(features, config.run.device)
    return Scorers(pair, Prior.load(prior), network, lambda: for_torchmetrics(clip), hashes, describe(clip))


def threshold(detector: Detector) -> float:
    """The score from which a detection counts in box fidelity."""
    return detector.confident if isinstance(detector, OpenDetector) else boxes.CONFIDENT


def confident(found: Sequence[Detections], detector: Detector) -> list[Detections]:
    """Of each picture's detections those that count in box fidelity."""
    return [boxes.confident(one, threshold(detector)) for one in found]


def of_second(found: Sequence[Detections], detector: Detector) -> list[Detections]:
    """The same of the second evaluator: every one of a closed detector's, which gives no unlikely ones."""
    return confident(found, detector) if isinstance(detector, OpenDetector) else list(found)


def asked(rows: Sequence[Layout], detector: Detector, where: str = "layouts") -> list[boxes.Requested]:
    """What each picture was asked to show, of what an open detector knows; `UserError` for a name that is no class of a
    closed one.
    """
    if isinstance(detector, OpenDetector):
        return [boxes.requested_known(row, detector.labels) for row in rows]
    return [boxes.requested(row, detector.classes, f"{where}, line {n}") for n, row in enumerate(rows, 1)]


def detected(samples: ImageSet, detector: Detector, about: Sequence[Layout] | None = None) -> list[Detections]:
    """What an evaluator finds in each picture, likely or not; an open one asked for the names of its layout, and of the
    row of `about` that goes with it.
    """
    found: list[Detections] = []
    for pixels, rows in samples.batches():
        more = about[len(found) : len(found) + len(rows)] if about else rows
        names = [(*row.names, *other.names) for row, other in zip(rows, more, strict=True)]
        found += look(detector, pixels, names, images.BATCH)
    return found


def unknown(rows: Sequence[Layout], pair: Evaluators) -> dict[str, Any]:
    """Of open evaluators: boxes and names of `rows` that each does not know, and its boxes whose name was not certain;
    empty where both are closed.
    """
    found: dict[str, Any] = {}
    for role, detector in (("evaluator", pair.first), ("second_evaluator", pair.second)):
        if isinstance(detector, OpenDetector):
            labels = labels_of(detector)
            missing = [name for row in rows for name in row.names if name not in labels]
            found[role] = {"boxes": len(missing), "names": len(set(missing)), "unsure": dict(detector.counts)}
    return {"unknown": found} if found else {}


def unit(features_ND: np.ndarray) -> np.ndarray:
    """Features at unit length, as CMMD takes them."""
    return features_ND / np.linalg.norm(features_ND, axis=1, keepdims=True)
