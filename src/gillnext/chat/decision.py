"""Learn whether a conversation's picture is found or drawn, and score that against doing always the one or the other.

    gillnext decide --config config.yaml --train S/conversations/train.jsonl --val S/conversations/val.jsonl \\
        --test S/conversations/test.jsonl --gill S/gill --language S/language --eyes E --index S/index --base B \\
        --adapter A --planner S/planner --evaluator V --second-evaluator W --clip C --out S/decision

Of `gill.decisions` training conversations the nearest picture of the index and a drawn one are compared by a scorer;
the gain is how much better the first fits. There are two scorers, and a head is fitted to each one's gains: the second
evaluator, by the F1 of the classes that it finds, and the image-text scorer, by the similarity to the true caption. The
head of the first is kept. On the validation and test conversations policies are judged by another model, the evaluator:
the F1 of the classes that it finds in what each would show. A conversation's own pictures are never found for it.

There is something to decide where the index is an album: it holds pictures of one or two objects, as albums do
(`gillnext index --objects 2`), and not of every scene that can be told. A story may end after any of its sentences
here; after the first two the album often has the scene, and after more it has not.

Drawn is as GILL draws, by the mapper alone. With an adapter and a planner the test conversations are also drawn as
GILL-Next does, in planned boxes, to tell what drawing always would then be worth.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gillnext.chat import measures
from gillnext.chat.artist import Artist
from gillnext.chat.compared import compare, examples
from gillnext.chat.index import Index
from gillnext.chat.measures import Share
from gillnext.chat.parts import add_talker, open_talker
from gillnext.chat.policy import ABOUT, Policy, chosen
from gillnext.chat.respond import add_artist
from gillnext.chat.score import add_judges
from gillnext.chat.similarity import ImageText
from gillnext.config.arguments import add_config, add_out, config
from gillnext.config.model import Config
from gillnext.gill.talker import Talker
from gillnext.instruments.detections import Detector
from gillnext.runtime import contents, files, provenance
from gillnext.sample.work import open_work
from gillnext.score.models import evaluator, weights


def judged(
    retrieve_N: np.ndarray, gains_N: np.ndarray, found_N: np.ndarray, drawn_N: np.ndarray, groups: Sequence[str] = ()
) -> dict[str, Any]:
    """How good decisions are: agreement with the scorer whose gains the head learned, where it tells the two pictures
    apart, and the evaluator's F1 of what is shown; beside them both constant policies, a coin, and the better of the
    two pictures each time.

    `found_N` and `drawn_N`: F1 of what can be found and drawn. `groups`: what each conversation is counted among.
    """
    rows, told_apart = np.ones(len(gains_N)), (gains_N != 0).astype(float)
    policies = {
        "decided": np.where(retrieve_N, found_N, drawn_N), "retrieve": found_N, "generate": drawn_N,
        "best": np.maximum(found_N, drawn_N), "coin": (found_N + drawn_N) / 2,
    }  # fmt: skip
    shares = {name: Share(values, rows) for name, values in policies.items()}
    differs = found_N != drawn_N
    agrees = (retrieve_N == (found_N > drawn_N)) & differs
    told = measures.group(
        {
            "accuracy": Share(told_apart * (retrieve_N == (gains_N > 0)), told_apart),
            "accuracy_evaluator": Share(agrees.astype(float), differs.astype(float)),
            "retrieved": Share(retrieve_N.astype(float), rows),
            "f1": shares["decided"],
        }
    )
    labelled = round(float((gains_N > 0).sum() / max(told_apart.sum(), 1)), 6)
    value = {name: round(float(share.value or 0.0), 6) for name, share in shares.items()}
    told["chance"] = {"accuracy": 0.5, "f1": value["coin"]}
    told["baseline"] = {
        "f1_retrieve": value["retrieve"], "f1_generate": value["generate"],
        "accuracy_retrieve": labelled, "accuracy_generate": round(1 - labelled, 6),
    }  # fmt: skip
    told["ceiling"] = {"f1": value["best"]}
    told["contrasts"] = {
        f"decided − {name}": {"f1": shares["decided"].minus(shares[name])} for name in ("retrieve", "generate", "coin")
    }
    told["by"] = {
        group: {"n": int(own.sum()), "retrieved": round(float(retrieve_N[own].mean()), 6)}
        | {name: round(float(policies[name][own].mean()), 6) for name in ("decided", "retrieve", "generate")}
        for group in sorted(set(groups))
        for own in [np.array([one == group for one in groups])]
    }
    return told


def decide(
    cfg: Config, talker: Talker, index: Index, artist: Artist, scorers: Mapping[str, ImageText | Detector],
    detector: Detector, files_: dict[str, Path], hashes: dict[str, str], out: Path,
    with_boxes: Callable[[], Artist] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Train a head for each scorer and write the first with the scores of all to the folder `out`; returns the scores
    of "val" and "test", of each scorer by its name.

    `files_`: the conversations of "train", "val" and "test"; `hashes`: of all models that have a part in it.
    `with_boxes`: loads what draws the test conversations as GILL-Next does.
    """
    hashes = hashes | {"gill": talker.hash} | {name: files.sha256(path) for name, path in files_.items()}
    work = out.with_name(out.name + ".work")
    sampled = cfg.sample.steps, cfg.sample.guidance, cfg.sample.batch
    settings = [dataclasses.asdict(cfg.run), sampled, cfg.gill.decisions]
    open_work(work, provenance.fingerprint(settings, hashes, code=["gillnext.chat.decision"]))
    splits = {}
    for name, path in files_.items():
        asked = examples(path, cfg.run.seed, cfg.gill.decisions if name == "train" else None)
        splits[name] = compare(cfg, talker, index, artist, asked, name, work / name)
    judgements = {name: splits[name].f1(detector) for name in ("val", "test")}
    scores: dict[str, dict[str, Any]] = {"val": {}, "test": {}}
    heads: dict[str, tuple[Policy, float]] = {}
    for by, scorer in scorers.items():
        gains = {name: split.gains(scorer) for name, split in splits.items()}
        train, val = ((splits[name].features_ND, gains[name]) for name in ("train", "val"))
        heads[by] = chosen(train, val)
        for name, judgement in judgements.items():
            split = splits[name]
            groups = [f"{e.row.kind}, {len(e.truth.names)} objects" for e in split.asked]
            retrieve = heads[by][0].retrieve(split.images_NRH, split.scores_N)
            scores[name][by] = judged(retrieve, gains[name], *judgement, groups)
    if with_boxes is not None:
        drawn = compare(cfg, talker, index, with_boxes(), splits["test"].asked, "test", work / "next")
        share = Share(drawn.f1(detector)[1], np.ones(len(drawn.asked)))
        scores["test"]["next"] = measures.group({"f1": share})
    first = next(iter(scorers))
    policy, penalty = heads[first]
    with files.atomic(out) as temporary:
        temporary.mkdir()
        policy.save(temporary)
        files.write_json(temporary / ABOUT, {
            "penalty": penalty, "examples": len(splits["train"].asked), "labels": first, "scores": scores,
            "index": len(index), "protocol": {
                "judge": detector.description, **{name: one.description for name, one in scorers.items()},
            },
            "hashes": hashes, "provenance": provenance.stamp(),
        })  # fmt: skip
    shutil.rmtree(work, ignore_errors=True)
    return scores


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    add_talker(parser)
    for name in ("train", "val", "test"):
        parser.add_argument(f"--{name}", type=Path, required=True, metavar="JSONL", help=f"{name} conversations")
    parser.add_argument("--index", type=Path, required=True, metavar="FOLDER", help="of `gillnext index`")
    add_artist(parser)
    add_judges(parser)
    what = "makes the labels, with the image-text scorer beside; without it that makes them"
    parser.add_argument("--second-evaluator", type=Path, metavar="DIR", help=what)
    add_out(parser, "folder of the decision head")


def main(args: argparse.Namespace) -> None:
    cfg = config(args)
    talker = open_talker(cfg, args)
    index = Index.open(args.index, talker.hash)
    boxes = (lambda: Artist.load(cfg, args.base, args.adapter, args.planner)) if args.adapter and args.planner else None
    artist = Artist.load(cfg, args.base)
    detector, second = evaluator(args.evaluator, cfg, args.names), args.second_evaluator
    scorers: dict[str, ImageText | Detector] = {}
    if second:
        scorers["second_evaluator"] = evaluator(second, cfg, args.names, second=True)
    scorers["image_text"] = clip = ImageText(args.clip, cfg.run.device)
    drawing = {name: getattr(args, name) for name in ("base", "adapter", "planner", "index")}
    hashes = {name: contents.sha256(path) for name, path in drawing.items() if path}
    hashes |= {"image_text": clip.hash, "evaluator": weights(args.evaluator)}
    hashes |= {"second_evaluator": weights(second)} if second else {}
    paths = {name: getattr(args, name) for name in ("train", "val", "test")}
    for name, heads in decide(cfg, talker, index, artist, scorers, detector, paths, hashes, args.out, boxes).items():
        for by in scorers:
            told = heads[by]["metrics"] | heads[by]["baseline"]
            print(f"decide, {name}, labels by {by}: " + ", ".join(f"{key} {value:.3f}" for key, value in told.items()))
