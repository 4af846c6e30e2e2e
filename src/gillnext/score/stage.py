"""Score a set of images: box fidelity with its chance level, AP, FID, KID, CMMD and CLIP score; or the relations.

    gillnext score --arm attn2 --seed 0 --samples R/samples/attn2/0/test --evaluator R/models/evaluator \\
        --second-evaluator R/models/templates --prior R/world/heldout/prior.safetensors \\
        --features R/models/features --clip R/models/clip --reference R/reference --out R/scores/attn2/0.json
    gillnext score --relations --arm attn2 --seed 0 --samples R/samples/attn2/0/relations \\
        --layouts R/world/heldout/relations.jsonl --evaluator … --second-evaluator … \\
        --out R/scores/relations/attn2/0.json
    gillnext score --boxes --arm attn2 --seed 0 --samples R/samples/attn2/0/swapped \\
        --evaluator … --second-evaluator … --prior … --out R/scores/swapped/attn2/0.json

The reference features (R/reference/features.safetensors) are those of real images: `gillnext ceilings` writes them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gillnext import layouts
from gillnext.config import Config, arguments
from gillnext.instruments import evaluators as box_evaluators
from gillnext.instruments import features as feature_networks
from gillnext.instruments.detections import Detections, Detector
from gillnext.layouts import Layout
from gillnext.runtime import files, provenance
from gillnext.runtime.errors import UserError
from gillnext.score import boxes, images, precision, protocols, relations
from gillnext.score.chance import Prior, by_part, level
from gillnext.score.images import ImageSet

REFERENCE = "features.safetensors"
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
            "threshold": boxes.CONFIDENT,
            "rules": self.second.description,
            "resize": "none: native resolution",
        }


@dataclass(frozen=True)
class Scorers:
    """What a set is scored with. `hashes`: digest of each model's weights."""

    evaluators: Evaluators
    prior: Prior
    features: Any  # (B, 3, H, W) float in 0–255 to (B, D); has a `description`
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


def evaluators(first: Path, second: Path, config: Config) -> Evaluators:
    """Both evaluators, from their folders alone; `UserError` where they know other classes."""
    from gillnext.runtime import training

    training.setup(config.run.threads, config.run.device)
    one, other = (box_evaluators.load(folder, config.run.device) for folder in (first, second))
    if one.classes != other.classes:
        raise UserError(
            "the evaluators know other classes", where=f"{first}, {second}", remedy="train them on the same world"
        )
    return Evaluators(one, other, {"evaluator": weights(first), "second_evaluator": weights(second)})


def scorers(pair: Evaluators, prior: Path, features: Path, clip: Path, config: Config) -> Scorers:
    """All models, from their folders alone."""
    from gillnext.instruments.image_text import for_torchmetrics

    hashes = {**pair.hashes, "features": weights(features), "clip": weights(clip)}
    network = feature_networks.load(features, config.run.device)
    return Scorers(pair, Prior.load(prior), network, lambda: for_torchmetrics(clip), hashes)


def _report(name: Name, n: int, scores: dict[str, Any], protocol: dict[str, Any], hashes: dict[str, str]) -> dict:
    metrics = {key: round(value, 6) for key, value in scores.pop("metrics").items()}
    return {
        "name": str(name), "arm": name.arm, "seed": name.seed, "n": n, "metrics": metrics, **scores,
        "protocol": protocol, "hashes": hashes, "provenance": provenance.stamp(),
    }  # fmt: skip


def _protocol(models: Scorers, reference: int) -> Protocol:
    from gillnext.score import fid_kid

    return {
        **models.evaluators.protocol,
        "chance": f"same images, boxes redrawn from the prior, same phrases, mean of {len(models.prior.boxes_DICN4)}",
        "definitions": f"detections from {protocols.MIGC_THRESHOLD} (MIGC, VOC) and {protocols.LGS_THRESHOLD} (LGS)",
        "extractor": models.features.description,
        "reference": f"{reference} real scenes of an independent stream",
        "kid": "unbiased MMD², (x·y/D + 1)³; s.e. over random halves",
        "fid_by_n": f"mean of {fid_kid.DRAWS} random subsets of the samples against the whole reference",
        "cmmd": "1000·MMD², Gaussian kernel, σ 10, unit image embeddings of the miniature Chinese-CLIP",
        "clip": "100·max(mean cos, 0), miniature Chinese-CLIP, torchmetrics",
    }


def asked(samples: ImageSet, classes: Sequence[str]) -> list[boxes.Requested]:
    """What each picture was asked to show."""
    return [boxes.requested(row, classes, f"{samples.rows}, line {n}") for n, row in enumerate(samples.layouts, 1)]


def detected(samples: ImageSet, evaluator: Detector) -> list[Detections]:
    """What an evaluator finds in each picture, likely or not."""
    return [found for pixels, _ in samples.batches() for found in evaluator.detect(pixels, images.BATCH)]


def box_scores(
    samples: ImageSet, wanted: Sequence[boxes.Requested], found: Sequence[Detections], pair: Evaluators, prior: Prior
) -> dict[str, Any]:
    """Box fidelity and its chance level, by the confident detections `found` and by the second evaluator; by the first
    also part by part, and in the overlap of boxes.
    """
    redrawn, by_second = prior.redrawn(wanted), detected(samples, pair.second)
    scores = protocols.overlap(wanted, redrawn, found)
    inside = scores["metrics"]
    scores |= boxes.fidelity(wanted, found, pair.first.classes)
    scores["chance_breakdown"] = by_part(redrawn, found, pair.first.classes)
    scores["metrics"] |= level(redrawn, found) | inside
    second = boxes.fidelity(wanted, by_second, pair.second.classes)["metrics"] | level(redrawn, by_second)
    scores["metrics"] |= {f"rules_{key}": value for key, value in second.items()}
    return scores


def score(samples: ImageSet, models: Scorers, reference: Path, config: Config, name: Name) -> dict[str, Any]:
    """All scores of one set of images, as a score file's content."""
    from gillnext.score import cmmd, fid_kid, text

    known, pair = fid_kid.read_reference(reference / REFERENCE, models.hashes), models.evaluators
    wanted, everything = asked(samples, pair.first.classes), detected(samples, pair.first)
    scores = box_scores(samples, wanted, [boxes.confident(f) for f in everything], pair, models.prior)
    captioned = ((pixels, [row.caption for row in rows]) for pixels, rows in samples.batches())
    device = config.run.device
    features = fid_kid.features_of_files(samples.paths, models.features, device)
    kid, kid_se = fid_kid.kid(features, known.features_ND, config.run.seed)
    scores["metrics"] |= {
        **precision.average_precision(wanted, everything),
        **protocols.scores(wanted, everything),
        "fid": fid_kid.fid(features, known.features_ND),
        "kid": kid,
        "kid_se": kid_se,
        "cmmd": cmmd.cmmd(cmmd.embed((p for p, _ in samples.batches()), models.clip, device), known.clip_NE),
        "clip_score": text.clip_score(captioned, models.clip, device),
    }
    scores["fid_by_n"] = fid_kid.fid_by_n(features, known.features_ND, config.run.seed)
    hashes = {**models.hashes, "samples": files.sha256(samples.folder), "reference": known.images}
    return _report(name, len(samples), scores, _protocol(models, len(known.features_ND)), hashes)


def score_boxes(samples: ImageSet, pair: Evaluators, prior: Prior, name: Name) -> dict[str, Any]:
    """Box fidelity and its chance level alone."""
    found = [boxes.confident(f) for f in detected(samples, pair.first)]
    scores = box_scores(samples, asked(samples, pair.first.classes), found, pair, prior)
    hashes = {**pair.hashes, "samples": files.sha256(samples.folder)}
    return _report(name, len(samples), scores, pair.protocol, hashes)


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


def score_relations(samples: ImageSet, truth: Path, pair: Evaluators, name: Name) -> dict[str, Any]:
    """The relations that the captions of `truth` state, in the pictures; and how these follow their plans."""
    captions, classes = _captions(samples, truth), pair.first.classes
    found = [boxes.confident(f) for f in detected(samples, pair.first)]
    scores = relations.accuracy(captions, found, classes, str(truth))
    by_second = relations.accuracy(captions, detected(samples, pair.second), classes, str(truth))["metrics"]
    scores["metrics"]["rules_relation_accuracy"] = by_second["relation_accuracy"]
    # What a plan names and no evaluator knows is a class of its own, which is never found.
    named = list(dict.fromkeys([*classes, *(name for row in samples.layouts for name in row.names)]))
    planned = asked(samples, named)
    if any(len(plan.labels) for plan in planned):
        followed = boxes.fidelity(planned, found, named)["metrics"]
        scores["metrics"] |= {key: followed[key] for key in ("miou", "success50")}
    protocol = pair.protocol | {
        "boxes": "against the planned ones",
        "relations": "centres of the best detection of each class; a missing object fails its relations",
    }
    hashes = {**pair.hashes, "samples": files.sha256(samples.folder), "captions": files.sha256(truth)}
    return _report(name, len(samples), scores, protocol, hashes)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.add_config(parser)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--relations", action="store_true", help="score the captions' spatial relations")
    mode.add_argument("--boxes", action="store_true", help="score box fidelity alone")
    parser.add_argument("--arm", required=True, help="arm that is scored")
    parser.add_argument("--seed", type=int, help="its training seed; none where nothing was trained")
    parser.add_argument("--samples", type=Path, required=True, metavar="DIR", help="images beside their layouts.jsonl")
    parser.add_argument("--layouts", type=Path, metavar="JSONL", help="captions with relations, for --relations")
    add_models(parser)
    parser.add_argument("--reference", type=Path, metavar="DIR", help="reference folder of `gillnext ceilings`")
    arguments.add_out(parser, "score file")


def add_models(parser: argparse.ArgumentParser) -> None:
    """The options that name what images are scored with."""
    parser.add_argument("--evaluator", type=Path, required=True, metavar="DIR", help="box evaluator")
    parser.add_argument("--second-evaluator", type=Path, required=True, metavar="DIR", help="another, to check it")
    parser.add_argument("--prior", type=Path, metavar="FILE", help="boxes of the chance level")
    parser.add_argument("--features", type=Path, metavar="DIR", help="image feature network")
    parser.add_argument("--clip", type=Path, metavar="DIR", help="Chinese-CLIP")


def need(args: argparse.Namespace, *names: str) -> None:
    """Refuse a command line that lacks one of these options."""
    if missing := [f"--{name}" for name in names if getattr(args, name) is None]:
        raise UserError(f"{' and '.join(missing)} missing", remedy="see --help")


def tell(reports: Sequence[dict[str, Any]]) -> None:
    """A line a report, for a log."""
    for report in reports:
        metrics = ", ".join(f"{key} {value:.4g}" for key, value in sorted(report["metrics"].items()))
        print(f"{report['name']}: {metrics}", file=sys.stderr)


def main(args: argparse.Namespace) -> None:
    config, name = arguments.config(args), Name(args.arm, args.seed)
    samples, pair = images.read(args.samples), evaluators(args.evaluator, args.second_evaluator, config)
    if args.relations:
        need(args, "layouts")
        report = score_relations(samples, args.layouts, pair, name)
    elif args.boxes:
        need(args, "prior")
        report = score_boxes(samples, pair, Prior.load(args.prior), name)
    else:
        need(args, "prior", "features", "clip", "reference")
        models = scorers(pair, args.prior, args.features, args.clip, config)
        report = score(samples, models, args.reference, config, name)
    files.write_json(args.out, report)
    tell([report])
