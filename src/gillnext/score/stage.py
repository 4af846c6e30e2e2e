"""Score a set of images: box fidelity with its chance level, AP, FID, KID, CMMD and CLIP score; or the relations.

    gillnext score --samples R/samples/attn2/0/test --evaluator R/models/evaluator \\
        --features R/models/features --clip R/models/clip --reference R/reference --out R/scores/attn2/0.json
    gillnext score --relations --samples R/samples/attn2/0/relations \\
        --layouts R/world/heldout/relations.jsonl --evaluator R/models/evaluator \\
        --out R/scores/relations/attn2/0.json
    gillnext score --boxes --samples R/samples/attn2/0/swapped --evaluator R/models/evaluator \\
        --out R/scores/swapped/attn2/0.json
    gillnext score --ceilings --vae R/models/vae --layouts R/world/heldout/test.jsonl --evaluator … \\
        --features … --clip … --reference R/reference --out R/scores/ceilings

The last renders the real images of the test layouts and passes them through the autoencoder
(R/reference/real, R/reference/vae), scores both as samples are scored, and keeps the reference features
(R/reference/features.safetensors): run it first.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gillnext import layouts
from gillnext.config import Config, arguments
from gillnext.layouts import Layout
from gillnext.runtime import files, provenance
from gillnext.runtime.errors import UserError
from gillnext.score import boxes, by_rules, chance, images, precision, relations
from gillnext.score.detections import Detections
from gillnext.score.images import ImageSet

REFERENCE = "features.safetensors"
RULES = f"templates of colour and shape, nothing learned; agreement of at least {by_rules.THRESHOLD}"

BOXES: dict[str, str | int | float] = {  # the protocol of every box score
    "boxes": "best one-to-one IoU with detections of the same class, 0 where none",
    "evaluator": "gillnext-fcos, trained on a stream of its own",
    "threshold": boxes.CONFIDENT,
    "rules": RULES,
    "resize": "none: native resolution",
}


@dataclass(frozen=True)
class Scorers:
    """What a set is scored with. `hashes`: digest of each model's weights."""

    detect: Callable[[np.ndarray], list[Detections]]  # (B, H, W, 3) uint8 to one Detections an image
    features: Callable[..., Any]  # (B, 3, H, W) float in 0–255 to (B, D)
    clip: Callable[[], tuple[Any, Any]]  # to torchmetrics' model and processor
    hashes: dict[str, str]


@dataclass(frozen=True)
class Name:
    """Which run a score file is about."""

    arm: str
    seed: int | None

    def __str__(self) -> str:
        return self.arm if self.seed is None else f"{self.arm}/{self.seed}"


def weights(folder: Path) -> str:
    """One digest of the safetensors in a model folder; raises `UserError` where there are none."""
    found = sorted(folder.glob("*.safetensors"))
    if not found:
        raise UserError("no weights (*.safetensors) here", where=str(folder), remedy="train this model first")
    return "+".join(files.sha256(file) for file in found)


def detector(path: Path, config: Config) -> Callable[[np.ndarray], list[Detections]]:
    """The evaluator in `path` as a function of images."""
    from gillnext.runtime import training
    from gillnext.score.evaluator import Evaluator

    training.setup(config.run.threads, config.run.device)
    model = Evaluator.from_pretrained(path).to(config.run.device)
    return lambda pixels: model.detect(pixels, images.BATCH)


def scorers(evaluator: Path, features: Path, clip: Path, config: Config) -> Scorers:
    """The three models, from their folders alone."""
    from gillnext.score.clip import for_torchmetrics
    from gillnext.score.features import FeatureNetwork

    hashes = {"evaluator": weights(evaluator), "features": weights(features), "clip": weights(clip)}
    network = FeatureNetwork.from_pretrained(features).to(config.run.device)
    return Scorers(detector(evaluator, config), network, lambda: for_torchmetrics(clip), hashes)


def _report(name: Name, n: int, scores: dict[str, Any], protocol: dict[str, Any], hashes: dict[str, str]) -> dict:
    metrics = {key: round(value, 6) for key, value in scores.pop("metrics").items()}
    return {
        "name": str(name), "arm": name.arm, "seed": name.seed, "n": n, "metrics": metrics, **scores,
        "protocol": protocol, "hashes": hashes, "provenance": provenance.stamp(),
    }  # fmt: skip


def _protocol(config: Config, reference: int) -> dict[str, str | int | float]:
    from gillnext.score import distribution

    return {
        **BOXES,
        "chance": f"same images, boxes redrawn from the prior, same phrases, mean of {chance.REDRAWS}",
        "extractor": "independent network by clean-fid; not Inception, not comparable with published FIDs",
        "reference": f"{reference} real scenes of an independent stream",
        "kid": "unbiased MMD², (x·y/D + 1)³; s.e. over random halves",
        "fid_by_n": f"mean of {distribution.DRAWS} random subsets of the samples against the whole reference",
        "cmmd": "1000·MMD², Gaussian kernel, σ 10, unit image embeddings of the miniature Chinese-CLIP",
        "clip": "100·max(mean cos, 0), miniature Chinese-CLIP, torchmetrics",
    }


def asked(samples: ImageSet) -> list[boxes.Requested]:
    """What each picture was asked to show."""
    return [boxes.requested(row, f"{samples.rows}, line {n}") for n, row in enumerate(samples.layouts, 1)]


def detected(samples: ImageSet, detect: Callable[[np.ndarray], list[Detections]]) -> list[Detections]:
    """What an evaluator finds in each picture, likely or not."""
    return [found for pixels, _ in samples.batches() for found in detect(pixels)]


def box_scores(
    samples: ImageSet, wanted: Sequence[boxes.Requested], found: Sequence[Detections], seed: int
) -> dict[str, Any]:
    """Box fidelity and its chance level, by the confident detections and by the evaluator that learns nothing."""
    redrawn, by_templates = chance.redrawn(wanted, seed), detected(samples, by_rules.detect)
    scores = boxes.fidelity(wanted, found)
    scores["metrics"] |= chance.level(redrawn, found)
    rules = boxes.fidelity(wanted, by_templates)["metrics"] | chance.level(redrawn, by_templates)
    scores["metrics"] |= {f"rules_{key}": value for key, value in rules.items()}
    return scores


def score(samples: ImageSet, models: Scorers, reference: Path, config: Config, name: Name) -> dict[str, Any]:
    """All scores of one set of images, as a score file's content."""
    from gillnext.score import cmmd, distribution, text

    known = distribution.read_reference(reference / REFERENCE, models.hashes)
    wanted, everything = asked(samples), detected(samples, models.detect)
    scores = box_scores(samples, wanted, [boxes.confident(f) for f in everything], config.run.seed)
    captioned = ((pixels, [row.caption for row in rows]) for pixels, rows in samples.batches())
    device = config.run.device
    features = distribution.features_of_files(samples.paths, models.features, device)
    kid, kid_se = distribution.kid(features, known.features_ND, config.run.seed)
    scores["metrics"] |= {
        **precision.average_precision(wanted, everything),
        "fid": distribution.fid(features, known.features_ND),
        "kid": kid,
        "kid_se": kid_se,
        "cmmd": cmmd.cmmd(cmmd.embed((p for p, _ in samples.batches()), models.clip, device), known.clip_NE),
        "clip_score": text.clip_score(captioned, models.clip, device),
    }
    scores["fid_by_n"] = distribution.fid_by_n(features, known.features_ND, config.run.seed)
    hashes = {**models.hashes, "samples": files.sha256(samples.folder), "reference": known.images}
    return _report(name, len(samples), scores, _protocol(config, len(known.features_ND)), hashes)


def score_boxes(
    samples: ImageSet, detect: Callable[[np.ndarray], list[Detections]], digest: str, config: Config, name: Name
) -> dict[str, Any]:
    """Box fidelity and its chance level alone."""
    found = [boxes.confident(f) for f in detected(samples, detect)]
    scores = box_scores(samples, asked(samples), found, config.run.seed)
    hashes = {"evaluator": digest, "samples": files.sha256(samples.folder)}
    return _report(name, len(samples), scores, BOXES, hashes)


def _captions(samples: ImageSet, truth: Path) -> list[Layout]:
    """The stated captions of `truth` in the order of the samples, matched by id."""
    read = layouts.read(truth)
    by_id = {layout.id: layout for layout in read}
    if "" in by_id or len(by_id) < len(read):
        raise UserError("captions without an id of their own", where=str(truth), remedy='give every row another "id"')
    if missing := [row.id for row in samples.layouts if row.id not in by_id]:
        raise UserError(
            f"has no caption with id {missing[0]!r}",
            where=str(truth),
            remedy="name the layouts that were planned",
        )
    return [by_id[row.id] for row in samples.layouts]


def score_relations(
    samples: ImageSet, truth: Path, detect: Callable[[np.ndarray], list[Detections]], digest: str, name: Name
) -> dict[str, Any]:
    """The relations that the captions of `truth` state, in the pictures; and how these follow their plans."""
    captions = _captions(samples, truth)
    found = [boxes.confident(f) for f in detected(samples, detect)]
    scores = relations.accuracy(captions, found, str(truth))
    by_templates = relations.accuracy(captions, detected(samples, by_rules.detect), str(truth))["metrics"]
    scores["metrics"]["rules_relation_accuracy"] = by_templates["relation_accuracy"]
    planned = asked(samples)
    if any(len(plan.labels) for plan in planned):
        followed = boxes.fidelity(planned, found)["metrics"]
        scores["metrics"] |= {key: followed[key] for key in ("miou", "success50")}
    protocol = BOXES | {
        "boxes": "against the planned ones",
        "relations": "centres of the best detection of each class; a missing object fails its relations",
    }
    hashes = {"evaluator": digest, "samples": files.sha256(samples.folder), "captions": files.sha256(truth)}
    return _report(name, len(samples), scores, protocol, hashes)


def _name(args: argparse.Namespace, samples: Path) -> Name:
    """--arm and --seed, else as in samples/{arm}/{seed}/test."""
    above = samples.resolve().parent
    seed = args.seed if args.seed is not None else int(above.name) if above.name.isdigit() else None
    return Name(args.arm or above.parent.name, seed)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.add_config(parser)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--relations", action="store_true", help="score the captions' spatial relations")
    mode.add_argument("--boxes", action="store_true", help="score box fidelity alone")
    mode.add_argument("--ceilings", action="store_true", help="make and score the reference images")
    parser.add_argument("--samples", type=Path, metavar="DIR", help="images beside their layouts.jsonl")
    parser.add_argument("--layouts", type=Path, metavar="JSONL", help="captions with relations; or the test layouts")
    parser.add_argument("--evaluator", type=Path, required=True, metavar="DIR", help="box evaluator")
    parser.add_argument("--features", type=Path, metavar="DIR", help="image feature network")
    parser.add_argument("--clip", type=Path, metavar="DIR", help="Chinese-CLIP")
    parser.add_argument("--reference", type=Path, metavar="DIR", help="reference folder; --ceilings writes it")
    parser.add_argument("--vae", type=Path, metavar="DIR", help="autoencoder, for --ceilings")
    parser.add_argument("--arm", help="arm that is scored (default: from the path samples/ARM/SEED/…)")
    parser.add_argument("--seed", type=int, help="its training seed (default: from the path)")
    arguments.add_out(parser, "score file; a folder of them with --ceilings")


def _need(args: argparse.Namespace, *names: str) -> None:
    if missing := [f"--{name}" for name in names if getattr(args, name) is None]:
        raise UserError(f"{' and '.join(missing)} missing", remedy="see gillnext score --help")


def _tell(reports: Sequence[dict[str, Any]]) -> None:
    for report in reports:
        told = ", ".join(f"{key} {value:.4g}" for key, value in sorted(report["metrics"].items()))
        print(f"{report['name']}: {told}", file=sys.stderr)


def main(args: argparse.Namespace) -> None:
    config = arguments.config(args)
    if args.relations:
        _need(args, "samples", "layouts")
        samples, detect = images.read(args.samples), detector(args.evaluator, config)
        name = _name(args, args.samples)
        report = score_relations(samples, args.layouts, detect, weights(args.evaluator), name)
    elif args.boxes:
        _need(args, "samples")
        samples, detect = images.read(args.samples), detector(args.evaluator, config)
        report = score_boxes(samples, detect, weights(args.evaluator), config, _name(args, args.samples))
    else:
        _need(args, "features", "clip", "reference")
        models = scorers(args.evaluator, args.features, args.clip, config)
        if args.ceilings:
            from gillnext.score import ceilings

            _need(args, "vae", "layouts")
            _tell(ceilings.make(config, args.vae, args.layouts, models, args.reference, args.out))
            return
        _need(args, "samples")
        report = score(images.read(args.samples), models, args.reference, config, _name(args, args.samples))
    files.write_json(args.out, report)
    _tell([report])
