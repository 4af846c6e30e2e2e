"""Score edited pictures against what was to change.

    gillnext region_scores --config config.yaml --edits S/edits/test --edited S/edited \\
        --edited-by-base S/edited_by_base --eyes S/dino --leader S/clip --inpainting S/inpainting --evaluator E \\
        --features F --clip C --out regions.json

Of every way and both inpaintings (`filled`: nine channels; `kept`: the base's four):

| score | |
|---|---|
| `success` | the edit is made where it was meant: its class found in the true box at IoU 0.5; recoloured, also in the new colour |
| `in_region` | its class is found in the chosen box at IoU 0.5 |
| `made` | the same, recoloured in the new colour, and every other object is still found where it was (`kept`) |
| `psnr` | dB, over all pixels of all pictures that should not change; `psnr_median` of a picture |
| `features` | distance of features of source and edit, the true box left out: what else has changed |
| `directional`, `text` | likeness of the pictures' change to the prompts', and of edit and prompt, by the image-text model |
| `iou` | of chosen and true box; `area`, chosen ÷ true area |

Of all edits, of each kind, and of those whose source prompt names what changes (`named`: all but additions, whose place
no prompt tells). `unchanged` is the source itself: the floor. Seeds are those of the region network and its choices. Intervals are 95%,
by bootstrap over pictures, of the mean over seeds; contrasts are paired.
"""  # noqa: E501

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from gillnext.config.arguments import add_config, add_out, config
from gillnext.config.model import Config
from gillnext.instruments import features as features_
from gillnext.instruments.detections import Detector, labels_of, look
from gillnext.layouts import Box
from gillnext.regions import keep, measures
from gillnext.regions.editor import WAYS
from gillnext.regions.eyes import as_pixels
from gillnext.regions.masks import mask
from gillnext.regions.objective import ImageText
from gillnext.regions.shown import REGIONS
from gillnext.runtime import contents, files, provenance, training
from gillnext.runtime.errors import UserError
from gillnext.score.boxes import CONFIDENT, HIT
from gillnext.score.models import evaluator

BATCH = 32
SUMS = ("success", "made", "in_region", "found", "features", "directional", "text", "iou", "area", "colour", "kept")
MADE = {"eyes": "dino.json", "leader": "training.json", "inpainting": "training.json"}
COMPARED = ("success", "made", "iou", "area", "features", "directional")
CONTRASTS = tuple(("learned", way) for way in ("random", "untrained", "centre", "whole", "searched"))


@dataclass(frozen=True)
class Truth:
    """The test edits: rows of truth.jsonl, sources (N, H, W, 3) uint8, prompts."""

    rows: list[dict[str, Any]]
    sources: np.ndarray
    prompts: list[tuple[str, str]]

    @classmethod
    def read(cls, folder: Path) -> Truth:
        rows = list(files.read_jsonl(folder / "truth.jsonl"))
        told = files.read_json(folder / "images.json")
        sources = np.stack([read_picture(folder / "images" / row["file"]) for row in rows])
        return cls(rows, sources, [(told[row["file"]][0], told[row["file"]][1]) for row in rows])

    def box(self, i: int) -> Box:
        return tuple(self.rows[i]["box"])


def read_picture(path: Path) -> np.ndarray:
    if not path.is_file():
        raise UserError("no such picture", where=str(path), remedy="run `gillnext regions` again")
    return np.asarray(Image.open(path).convert("RGB"))


class Judge:
    """Evaluator, feature network and image-text model, and what they say of edits."""

    def __init__(self, detector: Detector, features: Any, clip: ImageText) -> None:
        self.detector, self.features, self.clip, self.labels = detector, features, clip, labels_of(detector)

    def of(self, truth: Truth, edited: np.ndarray, boxes: Sequence[Box]) -> dict[str, np.ndarray]:
        """Every score (N,) of edited pictures (N, H, W, 3) uint8 with their chosen boxes."""
        names = [{row["after"], *(other["name"] for other in row["others"])} for row in truth.rows]
        found = look(self.detector, edited, names, BATCH)
        count = len(truth.rows)
        scores = {name: np.zeros(count) for name in (*SUMS, "errors", "values", "others")}
        for i, (row, seen) in enumerate(zip(truth.rows, found, strict=True)):
            label, box = self.labels.get(row["after"], -1), truth.box(i)
            there = measures.best_iou(seen, label, box, CONFIDENT) >= HIT
            colour = not row["colours"] or measures.has_colour(edited[i], box, *row["colours"])
            scores["success"][i] = there and colour
            scores["colour"][i] = colour
            scores["found"][i] = ((seen.labels == label) & (seen.scores >= CONFIDENT)).any()
            scores["in_region"][i] = measures.best_iou(seen, label, boxes[i], CONFIDENT) >= HIT
            scores["errors"][i], scores["values"][i] = measures.squared_error(truth.sources[i], edited[i], box)
            scores["iou"][i] = measures.iou(boxes[i], box)
            scores["area"][i] = measures.area(boxes[i]) / measures.area(box)
            others = [(self.labels.get(other["name"], -1), tuple(other["bbox"])) for other in row["others"]]
            scores["others"][i] = len(others)
            scores["kept"][i] = sum(measures.best_iou(seen, k, b, CONFIDENT) >= HIT for k, b in others)
            scores["made"][i] = scores["in_region"][i] and colour and scores["kept"][i] == len(others)
        return scores | self.similarities(truth, edited)

    def similarities(self, truth: Truth, edited: np.ndarray) -> dict[str, np.ndarray]:
        """What features and the image-text model say."""
        inside = np.stack([mask(truth.box(i), edited.shape[1:3]) for i in range(len(edited))])[..., None] > 0
        outside = np.where(inside, truth.sources, edited)
        with torch.no_grad():
            before, after = (
                torch.cat([self.clip.images(as_pixels(part[i : i + BATCH])) for i in range(0, len(part), BATCH)])
                for part in (truth.sources, edited)
            )
            first, second = (torch.stack([self.clip.text(pair[k]) for pair in truth.prompts]) for k in (0, 1))
        directional = torch.cosine_similarity(after - before, second - first, dim=-1, eps=1e-6)
        return {
            "features": measures.feature_distance(self.features, truth.sources, outside),
            "directional": directional.numpy(), "text": (after * second).sum(-1).numpy(),
        }  # fmt: skip


def told(scores_S: Sequence[dict[str, np.ndarray]], chosen: np.ndarray) -> dict[str, Any]:
    """The values and intervals of a way's scores, of the pictures where `chosen` (N,) is true."""

    def of(name: str) -> np.ndarray:
        return np.stack([one[name][chosen] for one in scores_S])

    ones = np.ones(int(chosen.sum()))
    found = {name: measures.ratio(of(name), ones) for name in SUMS if name not in ("kept", "colour")}
    found["kept"] = measures.ratio(of("kept"), of("others")[0])
    errors, values = of("errors"), of("values")[0]
    pooled = measures.ratio(errors, values)
    ends = [_decibel(end) for end in reversed(pooled["interval"])] if pooled["interval"] else None
    each = measures.psnr(errors.mean(0) / values)
    found["psnr"] = {"value": _decibel(pooled["value"]), "interval": ends}
    found["psnr_median"] = {"value": _decibel(float(np.median(errors.mean(0) / values))), "interval": None}
    found["psnr_35"] = measures.ratio((each >= 35)[None].astype(float), ones)
    return {"n": int(chosen.sum()), "seeds": len(scores_S), "scores": found}


def _decibel(mean_square: float | None) -> float | None:
    """PSNR, None where nothing has changed."""
    return None if not mean_square else round(float(measures.psnr(mean_square)), 3)


def score(truth: Truth, judge: Judge, folder: Path) -> dict[str, Any]:
    """The scores of a folder of `gillnext regions`: by way, for all edits and for each kind; and contrasts."""
    known = {row["file"]: row for row in files.read_jsonl(folder / REGIONS)}
    if known.keys() != {row["file"] for row in truth.rows}:
        raise UserError("edits of other pictures", where=str(folder), remedy="name those that were edited")
    rows = [known[row["file"]] for row in truth.rows]
    kinds = np.array([row["kind"] for row in truth.rows])
    parts = {"all": np.ones(len(kinds), bool), "named": np.array([bool(row["before"]) for row in truth.rows])}
    parts |= {kind: kinds == kind for kind in dict.fromkeys(kinds)}
    nothing = [truth.box(i) for i in range(len(rows))]
    scored = {"unchanged": [judge.of(truth, truth.sources, nothing)]}
    for way in (way for way in WAYS if way in rows[0]["ways"]):
        scored[way] = []
        for seed in rows[0]["ways"][way]:
            edited = np.stack([read_picture(folder / way / seed / f"{row['name']}.png") for row in rows])
            scored[way].append(judge.of(truth, edited, [tuple(row["ways"][way][seed]["box"]) for row in rows]))
    report = {way: {name: told(found, part) for name, part in parts.items()} for way, found in scored.items()}
    contrasts = dict[str, Any]()
    for first, second in CONTRASTS:
        if first in scored and second in scored:
            contrasts[f"{first} − {second}"] = {
                key: measures.difference(
                    np.stack([one[key] for one in scored[first]]), np.stack([one[key] for one in scored[second]]),
                    np.ones(len(kinds)),
                )
                for key in COMPARED
            }  # fmt: skip
    return {"ways": report, "contrasts": contrasts}


def made(folder: Path, name: str) -> Any:
    """What a model that is made here tells of itself; None of one that is given."""
    return files.read_json(folder / name) if (folder / name).exists() else None


def report_of(
    cfg: Config, truth: Truth, judge: Judge, edited: dict[str, Path], models: dict[str, Path]
) -> dict[str, Any]:
    """All scores, as the score file's content."""
    return {
        "name": "regions", "n": len(truth.rows), "kinds": dict(Counter(row["kind"] for row in truth.rows)),
        "filled": {name: score(truth, judge, folder) for name, folder in edited.items()},
        "made": {name: made(models[name], file) for name, file in MADE.items() if name in models},
        "protocol": {
            "evaluator": judge.detector.description,
            "success": "class found in the true box at IoU 0.5; of recolourings with the new colour",
            "psnr": "over all pixels of all pictures outside the true box",
            "intervals": "95%: bootstrap over pictures, of the mean over seeds of the region network and its choices",
        },
        "hashes": {name: contents.sha256(folder) for name, folder in models.items()}
        | {f"edited/{name}": files.sha256(folder) for name, folder in edited.items()},
        "provenance": provenance.stamp(),
    }  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    keep.add_edited(parser)
    parser.add_argument("--eyes", type=Path, required=True, metavar="FOLDER", help="the self-supervised ViT")
    parser.add_argument("--leader", type=Path, metavar="FOLDER", help="the image-text model that edits were led by")
    parser.add_argument("--inpainting", type=Path, metavar="FOLDER", help="the UNet of 9 channels")
    parser.add_argument("--evaluator", type=Path, required=True, metavar="FOLDER", help="finds objects in pictures")
    parser.add_argument("--features", type=Path, required=True, metavar="FOLDER", help="the feature network")
    parser.add_argument("--clip", type=Path, required=True, metavar="FOLDER", help="Chinese-CLIP, to judge")
    add_out(parser, "score file")


def main(args: argparse.Namespace) -> None:
    cfg = config(args)
    training.setup(cfg.run.threads, cfg.run.device)
    truth = Truth.read(args.edits)
    detector = evaluator(args.evaluator, cfg)
    judge = Judge(detector, features_.load(args.features, "cpu"), ImageText(args.clip, "cpu"))
    edited = keep.edited(args)
    models = {"eyes": args.eyes, "evaluator": args.evaluator, "features": args.features, "image_text": args.clip}
    models |= {name: folder for name in ("leader", "inpainting") if (folder := getattr(args, name))}
    report = report_of(cfg, truth, judge, edited, models)
    files.write_json(args.out, report)
    for name, found in report["filled"].items():
        for way, parts in found["ways"].items():
            scores = parts["all"]["scores"]
            line = ", ".join(f"{key} {one['value']}" for key, one in scores.items() if one["value"] is not None)
            print(f"{name}, {way}: {line}")
