"""Learn whether a conversation's picture is found or drawn, and score that against doing always the one or the other.

    gillnext decide --config config.yaml --train S/conversations/train.jsonl --val S/conversations/val.jsonl \\
        --test S/conversations/test.jsonl --gill S/gill --language S/language --eyes E --index S/index --base B \\
        --adapter A --planner S/planner --evaluator V --clip C --out S/decision

Of `gill.decisions` training conversations the nearest picture of the index and a drawn one are compared by the
image-text scorer: the label is "retrieve" where the first is at least as similar to the picture's true caption. On the
validation and test conversations the policies are judged by another model, the evaluator: the F1 of the classes that it
finds in what each would show. A conversation's own pictures are never found for it.

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
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from gillnext import conversations
from gillnext.chat import measures
from gillnext.chat.artist import Artist
from gillnext.chat.index import Index, tell
from gillnext.chat.measures import Share
from gillnext.chat.parts import add_talker, open_talker
from gillnext.chat.policy import ABOUT, chosen, features_of
from gillnext.chat.respond import add_artist
from gillnext.chat.score import add_judges
from gillnext.chat.similarity import ImageText
from gillnext.chat.ways import true_layout
from gillnext.config.arguments import add_config, add_out, config
from gillnext.config.model import Config
from gillnext.conversations import Conversation
from gillnext.gill.talker import Talker
from gillnext.instruments.detections import Detector, labels_of
from gillnext.layouts import Layout
from gillnext.runtime import contents, files, provenance, seeds
from gillnext.runtime.errors import UserError
from gillnext.runtime.progress import Progress
from gillnext.sample.work import Keys, name_of, open_work, save_png
from gillnext.score.images import ImageSet
from gillnext.score.models import confident, detected, evaluator, weights

SPARE = 8  # pictures that are looked at for each example beyond its own, at first; then four times as many


@dataclass(frozen=True)
class Example:
    """A conversation up to a turn whose picture is known. `root`: what its pictures' paths are relative to."""

    row: Conversation
    root: Path

    @property
    def truth(self) -> Layout:
        return true_layout(self.row)


def examples(path: Path, seed: int, count: int | None = None) -> list[Example]:
    """Conversations of a file, or `count` of them, each up to one of its turns with a known picture; `seed` and its id
    say which. `UserError` where no conversation has such a turn.
    """
    found = []
    for row in conversations.stream(path):
        known = [i for i, turn in enumerate(row.turns, 1) if turn.picture and turn.layout]
        if known:
            end = known[int(seeds.rng("decision-turn", seed, row.id).integers(len(known)))]
            found.append(Example(dataclasses.replace(row, turns=row.turns[:end]), path.parent))
    if not found:
        remedy = 'turns need "picture", "caption" and "objects"'
        raise UserError("no conversation with a picture that is known", where=str(path), remedy=remedy)
    order = seeds.rng("decisions", seed).permutation(len(found))[:count]
    return [found[int(i)] for i in np.sort(order)]


@dataclass(frozen=True)
class Compared:
    """What is known of N examples: their [IMG] states (N, R, H), the index' nearest picture with its score (N,), and
    the drawn picture.
    """

    asked: list[Example]
    images_NRH: Tensor
    scores_N: np.ndarray
    found: list[Path]
    drawn: list[Path]

    @property
    def features_ND(self) -> np.ndarray:
        return features_of(self.images_NRH, self.scores_N)

    def labels(self, clip: ImageText) -> np.ndarray:
        """(N,) bool: what was found is at least as similar to the true caption as what was drawn."""
        texts = clip.texts([example.truth.caption for example in self.asked])
        found, drawn = ((clip.pictures(paths) * texts).sum(1) for paths in (self.found, self.drawn))
        return found >= drawn

    def f1(self, detector: Detector) -> tuple[np.ndarray, np.ndarray]:
        """(N,) F1 of the classes that the evaluator finds in what was found, and in what was drawn."""
        labels, truth = labels_of(detector), [example.truth for example in self.asked]
        wanted = [{labels[name] for name in row.names if name in labels} for row in truth]

        def of(paths: list[Path]) -> np.ndarray:
            seen = confident(detected(ImageSet(Path("."), truth, paths), detector), detector)
            return measures.classes(wanted, [set(one.labels.tolist()) for one in seen])["f1"].right

        return of(self.found), of(self.drawn)


def nearest(index: Index, asked: Sequence[Example], embeddings_NE: np.ndarray) -> tuple[np.ndarray, list[Path]]:
    """For each example the score and path of the nearest picture that is there, unchanged, and not its own."""
    own = [{(e.root / turn.picture).resolve() for turn in e.row.turns if turn.picture} for e in asked]
    problems: dict[int, str] = {}

    def fits(i: int, place: int) -> bool:
        if place not in problems:
            problems[place] = index.problem(place)
        return not problems[place] and index.path(place).resolve() not in own[i]

    best, paths = np.zeros(len(asked), np.float32), dict[int, Path]()
    k, left = SPARE + max(map(len, own)), list(range(len(asked)))
    while left:
        scores, places = index.find(embeddings_NE[left], k)
        for i, values, row in zip(left, scores, places.tolist(), strict=True):
            first = next((n for n, place in enumerate(row) if fits(i, place)), None)
            if first is not None:
                best[i], paths[i] = values[first], index.path(row[first])
        left = [i for i in left if i not in paths]
        if k >= len(index):
            break
        k *= 4
    tell({index.paths[place]: problem for place, problem in problems.items() if problem}, "--index", len(index))
    if left:
        what = f"the index has no picture for {asked[left[0]].row.id!r} but its own"
        raise UserError(what, where="--index", remedy="make an index of more pictures")
    return best, [paths[i] for i in range(len(asked))]


def compare(
    cfg: Config, talker: Talker, index: Index, artist: Artist, asked: list[Example], name: str, work: Path
) -> Compared:
    """Find and draw the pictures of examples; drawn ones lie in the folder `work`, and are not drawn again.

    Drawn from the mapper's states; by an artist with a planner in the boxes that it plans.
    """
    roots = [example.root for example in asked]
    read = talker.read([example.row.turns for example in asked], roots)
    best, found = nearest(index, asked, read.embeddings.numpy())
    size, counts = cfg.sample.batch, Counter[str]()
    with Progress(f"decide, {name}", len(asked), "images") as progress:
        for start in range(0, len(asked), size):
            batch = range(start, min(start + size, len(asked)))
            if not all((work / name_of(i)).exists() for i in batch):
                keys: Keys = [(cfg.run.seed, name, i) for i in batch]
                part = slice(start, batch.stop)
                boxes = artist.plan([asked[i].row.turns for i in batch], counts) if artist.planner else None
                captions = [asked[i].row.id for i in batch]
                images = artist.draw(captions, keys, boxes, (read.states[part], read.pooled[part]))
                for i, image in zip(batch, images, strict=True):
                    save_png(work / name_of(i), image)
            progress.step(len(batch))
    return Compared(asked, read.images, best, found, [work / name_of(i) for i in range(len(asked))])


def judged(
    retrieve_N: np.ndarray, labels_N: np.ndarray, found_N: np.ndarray, drawn_N: np.ndarray, groups: Sequence[str] = ()
) -> dict[str, Any]:
    """How good decisions are: agreement with the image-text scorer's labels, and the evaluator's F1 of what is shown;
    beside them both constant policies, a coin, and the better of the two pictures each time.

    `found_N` and `drawn_N`: F1 of what can be found and drawn. `groups`: what each conversation is counted among.
    """
    rows = np.ones(len(labels_N))
    policies = {
        "decided": np.where(retrieve_N, found_N, drawn_N), "retrieve": found_N, "generate": drawn_N,
        "best": np.maximum(found_N, drawn_N), "coin": (found_N + drawn_N) / 2,
    }  # fmt: skip
    shares = {name: Share(values, rows) for name, values in policies.items()}
    differs = found_N != drawn_N
    agrees = (retrieve_N == (found_N > drawn_N)) & differs
    told = measures.group(
        {
            "accuracy": Share((retrieve_N == labels_N).astype(float), rows),
            "accuracy_evaluator": Share(agrees.astype(float), differs.astype(float)),
            "retrieved": Share(retrieve_N.astype(float), rows),
            "f1": shares["decided"],
        }
    )
    labelled = round(float(labels_N.mean()), 6)
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
    cfg: Config, talker: Talker, index: Index, artist: Artist, clip: ImageText, detector: Detector,
    files_: dict[str, Path], hashes: dict[str, str], out: Path, with_boxes: Callable[[], Artist] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Train the head and write it with its scores to the folder `out`; returns the scores of "val" and "test".

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
    labels = {name: split.labels(clip) for name, split in splits.items()}
    train, val = ((splits[name].features_ND, labels[name]) for name in ("train", "val"))
    policy, penalty = chosen(train, val)
    scores = {}
    for name in ("val", "test"):
        split = splits[name]
        groups = [f"{e.row.kind}, {len(e.truth.names)} objects" for e in split.asked]
        retrieve = policy.retrieve(split.images_NRH, split.scores_N)
        scores[name] = judged(retrieve, labels[name], *split.f1(detector), groups)
    if with_boxes is not None:
        drawn = compare(cfg, talker, index, with_boxes(), splits["test"].asked, "test", work / "next")
        share = Share(drawn.f1(detector)[1], np.ones(len(drawn.asked)))
        scores["test"]["next"] = measures.group({"f1": share})
    with files.atomic(out) as temporary:
        temporary.mkdir()
        policy.save(temporary)
        files.write_json(temporary / ABOUT, {
            "penalty": penalty, "examples": len(splits["train"].asked),
            "retrieve_labels": round(float(labels["train"].mean()), 6), "scores": scores, "index": len(index),
            "protocol": {"labels": clip.description, "judge": detector.description},
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
    add_out(parser, "folder of the decision head")


def main(args: argparse.Namespace) -> None:
    cfg = config(args)
    talker = open_talker(cfg, args)
    index = Index.open(args.index, talker.hash)
    boxes = (lambda: Artist.load(cfg, args.base, args.adapter, args.planner)) if args.adapter and args.planner else None
    artist = Artist.load(cfg, args.base)
    clip, detector = ImageText(args.clip, cfg.run.device), evaluator(args.evaluator, cfg, args.names)
    drawing = {name: getattr(args, name) for name in ("base", "adapter", "planner", "index")}
    hashes = {name: contents.sha256(path) for name, path in drawing.items() if path}
    hashes |= {"image_text": clip.hash, "evaluator": weights(args.evaluator)}
    paths = {name: getattr(args, name) for name in ("train", "val", "test")}
    for name, told in decide(cfg, talker, index, artist, clip, detector, paths, hashes, args.out, boxes).items():
        always = ", ".join(f"{key} {value:.3f}" for key, value in (told["metrics"] | told["baseline"]).items())
        print(f"decide, {name}: {always}")
