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

Letters: N pictures, D features, E width of CLIP's embedding.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gillnext import layouts
from gillnext.config import Config, arguments
from gillnext.instruments.detections import Detections, Detector, OpenDetector
from gillnext.layouts import Layout
from gillnext.runtime import files, provenance
from gillnext.runtime.errors import UserError
from gillnext.score import boxes, cmmd, fid_kid, images, precision, protocols, relations, text
from gillnext.score.chance import Prior, by_part, level
from gillnext.score.images import ImageSet
from gillnext.score.models import (
    Evaluators,
    Protocol,
    Scorers,
    asked,
    confident,
    detected,
    evaluators,
    of_second,
    scorers,
    threshold,
    unit,
    unknown,
)

REFERENCE = "features.safetensors"


@dataclass(frozen=True)
class Name:
    """Which run a score file is about."""

    arm: str
    seed: int | None

    def __str__(self) -> str:
        return self.arm if self.seed is None else f"{self.arm}/{self.seed}"


def _report(name: Name, n: int, scores: dict[str, Any], protocol: dict[str, Any], hashes: dict[str, str]) -> dict:
    metrics = {key: round(value, 6) for key, value in scores.pop("metrics").items()}
    return {
        "name": str(name), "arm": name.arm, "seed": name.seed, "n": n, "metrics": metrics, **scores,
        "protocol": protocol, "hashes": hashes, "provenance": provenance.stamp(),
    }  # fmt: skip


def _protocol(models: Scorers, known: fid_kid.Reference) -> Protocol:
    source = fid_kid.SOURCES.get(known.source, known.source)
    of_features = getattr(models.features, "embedding", False)
    embedding = models.features.description if of_features else f"the {models.clip_name}"
    return {
        **models.evaluators.protocol,
        "chance": f"same images, boxes redrawn from the prior, same phrases, mean of {len(models.prior.boxes_DICN4)}",
        "definitions": f"detections from {protocols.MIGC_THRESHOLD} (MIGC, VOC) and {protocols.LGS_THRESHOLD} (LGS)",
        "extractor": models.features.description,
        "reference": f"{len(known.features_ND)} {source}",
        "kid": "unbiased MMD², (x·y/D + 1)³; s.e. over random halves",
        "fid_by_n": f"mean of {fid_kid.DRAWS} random subsets of the samples against the whole reference",
        "cmmd": f"1000·MMD², Gaussian kernel, σ 10, unit image embeddings of {embedding}",
        "clip": f"100·max(mean cos, 0), {models.clip_name}, torchmetrics",
    }


def box_scores(
    samples: ImageSet, wanted: Sequence[boxes.Requested], found: Sequence[Detections], pair: Evaluators, prior: Prior
) -> dict[str, Any]:
    """Box fidelity and its chance level, by the confident detections `found` and by the second evaluator; by the first
    also part by part, and in the overlap of boxes.
    """
    redrawn, by_second = prior.redrawn(wanted), of_second(detected(samples, pair.second), pair.second)
    scores = protocols.overlap(wanted, redrawn, found)
    inside = scores["metrics"]
    scores |= boxes.fidelity(wanted, found, pair.first.classes)
    scores["chance_breakdown"] = by_part(redrawn, found, pair.first.classes)
    scores["metrics"] |= level(redrawn, found) | inside | boxes.shown(wanted, found)
    theirs = asked(samples.layouts, pair.second, str(samples.rows))
    second = boxes.fidelity(theirs, by_second, pair.second.classes)["metrics"]
    second |= level(prior.redrawn(theirs), by_second) | boxes.shown(theirs, by_second)
    scores["metrics"] |= {f"rules_{key}": value for key, value in second.items()}
    return scores | unknown(samples.layouts, pair)


def score(samples: ImageSet, models: Scorers, reference: Path, config: Config, name: Name) -> dict[str, Any]:
    """All scores of one set of images, as a score file's content."""
    known, pair = fid_kid.read_reference(reference / REFERENCE, models.hashes), models.evaluators
    wanted, everything = asked(samples.layouts, pair.first, str(samples.rows)), detected(samples, pair.first)
    scores = box_scores(samples, wanted, confident(everything, pair.first), pair, models.prior)
    device = config.run.device
    features = fid_kid.features_of_files(samples.paths, models.features, device)
    kid, kid_se = fid_kid.kid(features, known.features_ND, config.run.seed)
    scores["metrics"] |= {
        **precision.average_precision(wanted, everything),
        **protocols.scores(wanted, everything, threshold(pair.first)),
        "fid": fid_kid.fid(features, known.features_ND),
        "kid": kid,
        "kid_se": kid_se,
        "cmmd": _cmmd(samples, models, features, known, device),
        "clip_score": _clip_score(samples, models, device),
    }
    scores["fid_by_n"] = fid_kid.fid_by_n(features, known.features_ND, config.run.seed)
    hashes = {**models.hashes, "samples": files.sha256(samples.folder), "reference": known.images}
    return _report(name, len(samples), scores, _protocol(models, known), hashes)


def _cmmd(samples: ImageSet, models: Scorers, features_ND: np.ndarray, known: fid_kid.Reference, device: str) -> float:
    """By the image-text model, or by the feature network where that is a CLIP."""
    if getattr(models.features, "embedding", False):
        return cmmd.cmmd(unit(features_ND), unit(known.features_ND))
    return cmmd.cmmd(cmmd.embed((p for p, _ in samples.batches()), models.clip, device), known.clip_NE)


def _clip_score(samples: ImageSet, models: Scorers, device: str) -> float:
    captioned = ((pixels, [row.caption for row in rows]) for pixels, rows in samples.batches())
    return text.clip_score(captioned, models.clip, device)


def score_boxes(samples: ImageSet, pair: Evaluators, prior: Prior, name: Name) -> dict[str, Any]:
    """Box fidelity and its chance level alone."""
    found = confident(detected(samples, pair.first), pair.first)
    scores = box_scores(samples, asked(samples.layouts, pair.first, str(samples.rows)), found, pair, prior)
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


def _open_labels(detector: Detector) -> dict[str, int] | None:
    return detector.labels if isinstance(detector, OpenDetector) else None


def _named(samples: ImageSet, detector: Detector) -> list[str]:
    """The detector's classes, then what else layouts name."""
    return list(dict.fromkeys([*detector.classes, *(name for row in samples.layouts for name in row.names)]))


def score_relations(samples: ImageSet, truth: Path, pair: Evaluators, name: Name) -> dict[str, Any]:
    """The relations that the captions of `truth` state, in the pictures; and how these follow their plans."""
    captions, first = _captions(samples, truth), pair.first
    found = confident(detected(samples, first, captions), first)
    scores = relations.accuracy(captions, found, first.classes, str(truth), _open_labels(first))
    second = of_second(detected(samples, pair.second, captions), pair.second)
    checked = relations.accuracy(captions, second, pair.second.classes, str(truth), _open_labels(pair.second))
    scores["metrics"]["rules_relation_accuracy"] = checked["metrics"]["relation_accuracy"]
    # What a plan names and no closed evaluator knows is a class of its own, which is never found.
    labels = _open_labels(first) or {name: i for i, name in enumerate(_named(samples, first))}
    planned = [boxes.requested_known(row, labels) for row in samples.layouts]
    if any(len(plan.labels) for plan in planned):
        followed = boxes.fidelity(planned, found, _named(samples, first))["metrics"]
        scores["metrics"] |= {key: followed[key] for key in ("miou", "success50")}
    scores |= unknown(captions, pair)
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
    parser.add_argument("--names", type=Path, metavar="FILE", help="names, or their table, for an open evaluator")
    parser.add_argument("--prior", type=Path, metavar="FILE", help="boxes of the chance level")
    parser.add_argument("--features", type=Path, metavar="PATH", help="image feature network, or Inception's file")
    parser.add_argument("--clip", type=Path, metavar="DIR", help="Chinese-CLIP")


def need(args: argparse.Namespace, *names: str) -> None:
    """Refuse a command line that lacks one of these options."""
    if missing := [f"--{name}" for name in names if getattr(args, name) is None]:
        raise UserError(f"{' and '.join(missing)} missing", remedy="see --help")


def all_scorers(args: argparse.Namespace, config: Config) -> Scorers:
    """What the options of `add_models` name, for all scores; `UserError` where one is missing."""
    need(args, "prior", "features", "clip")
    pair = evaluators(args.evaluator, args.second_evaluator, config, args.names)
    return scorers(pair, args.prior, args.features, args.clip, config)


def score_ceilings(
    sets: dict[str, ImageSet], models: Scorers, reference: Path, config: Config, out: Path
) -> list[dict[str, Any]]:
    """Score the sets, which no arm drew, and write a file of each to the folder `out`; returns the reports."""
    reports = []
    for name, samples in sets.items():
        report = score(samples, models, reference, config, Name(name, None))
        files.write_json(out / f"{name}.json", report)
        reports.append(report)
    return reports


def tell(reports: Sequence[dict[str, Any]]) -> None:
    """A line a report, for a log."""
    for report in reports:
        metrics = ", ".join(f"{key} {value:.4g}" for key, value in sorted(report["metrics"].items()))
        print(f"{report['name']}: {metrics}", file=sys.stderr)


def main(args: argparse.Namespace) -> None:
    config, name = arguments.config(args), Name(args.arm, args.seed)
    samples, pair = images.read(args.samples), evaluators(args.evaluator, args.second_evaluator, config, args.names)
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
