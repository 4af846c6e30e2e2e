"""Score what was drawn of test clips, beside the last frame, the mean of all frames, chance and ceiling.

    gillnext edited --config config.yaml --edits results/demo/supplement/edits --data results/demo/supplement/frames \\
        --clips results/demo/supplement/clips --evaluator reference/models/evaluator \\
        --features reference/models/features --out results/demo/supplement/frames.json

Errors are mean absolute ones in 255ths, inside what changed between last frame and target (`changed.png` of a clip,
else where the two differ) and outside. An instruction has succeeded where the evaluator finds the object in its place
in the target (IoU 0.5) and, of one that covers, not the covered one; that needs truth.jsonl beside the clips. FID, KID
and IS are of the feature network's features and classes. All by task, with 95% intervals by bootstrap over clips;
contrasts are paired.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from gillnext import layouts
from gillnext.chat.measures import Share, group
from gillnext.config.arguments import add_config, add_out, config
from gillnext.config.model import Config
from gillnext.frames import measures
from gillnext.frames.draw import WAYS, name_of
from gillnext.frames.measures import Wanted
from gillnext.frames.rows import load, seen
from gillnext.instruments import features as feature_networks
from gillnext.instruments.detections import Detector, labels_of
from gillnext.layouts import Layout
from gillnext.runtime import files, provenance, training
from gillnext.score import fid_kid
from gillnext.score.models import confident, evaluator, weights

CONTRASTS = (("frames", "last"), ("frames", "one"), ("frames", "repeated"), ("frames", "untold"), ("frames", "mean"))
TRUTH, CHANGED = "truth.jsonl", "changed.png"


class Split:
    """A split's clips: their names, what their targets should show, and where these differ from the last frames."""

    def __init__(self, data: Path, clips: Path, split: str) -> None:
        self.folder = clips / split
        rows = load(data)[split]
        self.names = [frames[0].rpartition("/")[0] for frames in rows["input_frames"]]
        known: dict[str, Layout] = {}
        if (self.folder / TRUTH).is_file():
            known = {row.id: row for row in layouts.read(self.folder / TRUTH)}
        self.truth = [known.get(name) for name in self.names]
        self.tasks = np.array([row.extra["task"] if row else "" for row in self.truth])

    def wanted(self, labels: dict[str, int]) -> list[Wanted | None]:
        return [measures.wanted(row, labels) if row else None for row in self.truth]

    def changed(self, target: np.ndarray, last: np.ndarray) -> np.ndarray:
        """(N, H, W) bool, of pictures (N, H, W, 3)."""
        found = []
        for name, one, other in zip(self.names, target, last, strict=True):
            path, size = self.folder / name / CHANGED, (one.shape[1], one.shape[0])
            if path.is_file():
                with Image.open(path) as image:
                    found.append(np.asarray(image.convert("L").resize(size, Image.Resampling.NEAREST)) > 0)
            else:
                found.append(measures.changed(one, other))
        return np.stack(found)

    def groups(self) -> dict[str, np.ndarray]:
        """The places of all clips, and of those of each task."""
        tasks = dict.fromkeys(task for task in self.tasks if task)
        return {"all": np.arange(len(self.names))} | {task: np.flatnonzero(self.tasks == task) for task in tasks}


def shares(
    drawn: np.ndarray, target: np.ndarray, area: np.ndarray, asked: list[Wanted | None], detector: Detector
) -> dict[str, Share]:
    """Errors and success of pictures (N, H, W, 3)."""
    found = measures.errors(drawn, target, area)
    if any(asked):
        seen = confident(detector.detect(drawn, 64), detector)
        found["success"] = measures.success(asked, seen)
    return found


class Features:
    """FID and KID to the targets, and IS, by a feature network."""

    def __init__(self, network: Any, target: np.ndarray, device: str) -> None:
        self.network, self.device = network, device
        self.target = fid_kid.features_of_images(target, network, device)

    @torch.no_grad()
    def of(self, drawn: np.ndarray) -> dict[str, Any]:
        """`kid` with its 95% interval, `fid` of more clips than features, and `is` where the network tells classes."""
        own = fid_kid.features_of_images(drawn, self.network, self.device)
        value, error = fid_kid.kid(own, self.target)
        ends = [round(value + sign * 1.96 * error, 6) for sign in (-1, 1)]
        found: dict[str, Any] = {"kid": round(value, 6), "kid_interval": ends}
        if len(own) > own.shape[1]:  # with fewer its covariances are singular
            found["fid"] = round(fid_kid.fid(own, self.target), 4)
        if (head := getattr(self.network, "which", None)) is not None:
            classes = head(torch.from_numpy(own).float().to(self.device)).softmax(-1).cpu().numpy()
            found["is"] = round(measures.inception_score(classes.astype(float)), 4)
        return found


def next_of_task(split: Split) -> np.ndarray:
    """For each clip another one of its task: whose target is the chance level."""
    found = np.roll(np.arange(len(split.names)), -1)
    for task, rows in split.groups().items():
        if task != "all":
            found[rows] = np.roll(rows, -1)
    return found


def test_scores(edits: Path, split: Split, detector: Detector, features: Any, device: str) -> dict[str, Any]:
    """Scores of every way by task, their contrasts, FID, KID and IS."""
    pictures = {way: np.load(edits / "test" / f"{way}.npy", allow_pickle=False) for way in WAYS}
    pictures["chance"] = pictures["target"][next_of_task(split)]
    target, asked = pictures["target"], split.wanted(labels_of(detector))
    area, network = split.changed(target, pictures["last"]), Features(features, target, device)
    every = {way: shares(drawn, target, area, asked, detector) for way, drawn in pictures.items()}
    by_task: dict[str, Any] = {}
    contrasts: dict[str, Any] = {}
    for task, rows in split.groups().items():
        parts = {way: measures.part(of, rows) for way, of in every.items()}
        by_task[task] = {way: group(of) for way, of in parts.items()}
        contrasts[task] = {
            f"{a} − {b}": {key: parts[a][key].minus(parts[b][key]) for key in parts[a]} for a, b in CONTRASTS
        }
    quality = {way: network.of(drawn) for way, drawn in pictures.items()}
    return {
        "n": len(split.names),
        "tasks": by_task,
        "contrasts": contrasts,
        "features": quality,
        "changed": round(float(area.mean()), 6),
    }


def sweep_scores(cfg: Config, edits: Path, split: Split, data: Path, detector: Detector, side: int) -> dict[str, Any]:
    """Scores of validation clips at every pair of guidance scales."""
    shown = seen(data, split.folder.parent, "val", side)
    area, asked = split.changed(shown["target"], shown["last"]), split.wanted(labels_of(detector))
    cells = []
    for text in cfg.frames.drawing.text_scales:
        for image in cfg.frames.drawing.image_scales:
            drawn = np.load(edits / "sweep" / f"{name_of(text, image)}.npy", allow_pickle=False)
            found = shares(drawn, shown["target"], area, asked, detector)
            cells.append({"text": text, "image": image, **group(found)})
    return {"n": len(split.names), "cells": cells}


def score(
    cfg: Config, edits: Path, data: Path, clips: Path, judge: Path, network: Path, names: Path | None
) -> dict[str, Any]:
    """The score file's content."""
    training.setup(cfg.run.threads, cfg.run.device)
    detector, features = evaluator(judge, cfg, names), feature_networks.load(network, cfg.run.device)
    about = files.read_json(edits / "edits.json")
    test = Split(data, clips, "test")
    side = np.load(edits / "test/target.npy", mmap_mode="r", allow_pickle=False).shape[1]
    return {
        "name": "frames",
        **test_scores(edits, test, detector, features, cfg.run.device),
        "sweep": sweep_scores(cfg, edits, Split(data, clips, "val"), data, detector, side),
        "scales": about["scales"],
        "protocol": {
            "evaluator": detector.description,
            "features": getattr(features, "description", ""),
            "error": "mean absolute, of 255; inside what changed from last frame to target, and outside",
            "success": "the object in its place in the target, IoU 0.5; of one that covers, the covered one not seen",
            "chance": "the target of another clip of the same task",
            "ceiling": "the target through the autoencoder (rebuilt); the target itself, as the evaluator sees it",
            "intervals": "95%, bootstrap over clips; contrasts are paired",
            "steps": about["steps"],
        },
        "hashes": {"evaluator": weights(judge), "features": weights(network), "edits": files.sha256(edits)},
        "provenance": provenance.stamp(),
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    for name, what in (
        ("edits", "of `gillnext edit_frames`"), ("data", "the dataset of `gillnext frames`"), ("clips", "its clips"),
        ("evaluator", "finds the objects in pictures"), ("features", "network of FID and IS"),
    ):  # fmt: skip
        parser.add_argument(f"--{name}", type=Path, required=True, metavar="DIR", help=what)
    parser.add_argument("--names", type=Path, metavar="FILE", help="names, or their table, for an open evaluator")
    add_out(parser, "score file")


def main(args: argparse.Namespace) -> None:
    found = score(config(args), args.edits, args.data, args.clips, args.evaluator, args.features, args.names)
    files.write_json(args.out, found)
    for task, ways in found["tasks"].items():
        for way, one in ways.items():
            print(f"{task}, {way}: " + ", ".join(f"{key} {value:.3f}" for key, value in one["metrics"].items()))
