"""Score a trained GILL on conversations: captions, retrieval, pictures by class and place, decisions; one JSON.

    gillnext converse --config config.yaml --test S/conversations/test.jsonl --gallery S/conversations/gallery.jsonl \\
        --gill S/gill --language S/language --eyes E --pictures S/pictures --evaluator V --clip C \\
        --decision S/decision --out S/gill.json

| part | what | chance | baseline | ceiling |
|---|---|---|---|---|
| `captioning` | captions of pictures: classes named, relations stated, BLEU | the next picture's caption | the true caption of the picture nearest by the image-text model | the true caption |
| `retrieval` | R@k of pictures by text, of stories by 1 … 5 turns | k of the pictures, exactly | the image-text model on the same texts | |
| `generation` | classes that the evaluator finds in each way's pictures | the next picture's classes | `last`, `dialogue` | `caption` |
| `placement` | boxes and told relations that it finds there | the boxes of another picture; half of what is found | `caption` | `next-true`, `caption-true` |
| `decision` | what `gillnext decide` has reported | | retrieve always, generate always | the better of both |

The scores are those of `measures`, which needs no model.
"""  # noqa: E501 (a table)

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gillnext import conversations, layouts
from gillnext.chat import measures
from gillnext.chat.measures import Share
from gillnext.chat.parts import add_talker, open_talker
from gillnext.chat.similarity import ImageText
from gillnext.chat.ways import LONGEST, TRUTH, WAYS, context, true_layout
from gillnext.config.arguments import add_config, add_out, config
from gillnext.config.model import Config
from gillnext.conversations import Conversation, text_of
from gillnext.filter.lexicon import read_lexicon
from gillnext.gill.talker import Talker
from gillnext.instruments.detections import Detections, Detector, labels_of
from gillnext.layouts import Layout
from gillnext.planner.decode import nouns_in
from gillnext.runtime import files, provenance
from gillnext.runtime.errors import UserError
from gillnext.score import boxes, images
from gillnext.score.models import confident, detected, evaluator, weights
from gillnext.split.relations import Grammar

CONTRASTS = (
    ("gill-5", "gill-1"), ("gill-pictures", "gill-5"), ("gill-pictures", "gill-shuffled"), ("gill-pictures", "last"),
    ("gill-pictures", "dialogue"), ("gill-pictures", "caption"), ("next", "gill-pictures"), ("next", "caption-planned"),
    ("next-true", "caption-true"),
)  # fmt: skip


@dataclass(frozen=True)
class Pictures:
    """Conversations' last pictures: `rows` and their true layouts, in one order, and where the pictures lie."""

    rows: list[Conversation]
    truth: list[Layout]
    paths: list[Path]

    @classmethod
    def read(cls, path: Path) -> Pictures:
        """Those of a file; `UserError` where a last turn has no picture, or it is not known what that shows."""
        rows = conversations.read(path)
        truth = [true_layout(row, str(path)) for row in rows]
        paths = [path.parent / row.image_path for row in truth]
        for row, picture in zip(rows, paths, strict=True):
            if not row.turns[-1].picture or not picture.is_file():
                what = f"the last picture of {row.id!r} is missing: {row.turns[-1].picture or 'none is named'}"
                raise UserError(what, where=str(path), remedy="put the file there, or write the conversations again")
        return cls(rows, truth, paths)

    def of(self, kind: str) -> Pictures:
        """Those of one kind."""
        own = [i for i, row in enumerate(self.rows) if row.kind == kind]
        return Pictures([self.rows[i] for i in own], [self.truth[i] for i in own], [self.paths[i] for i in own])

    @property
    def kinds(self) -> list[str]:
        return list(dict.fromkeys(row.kind for row in self.rows))


def bleu(captions: Sequence[str], truths: Sequence[str]) -> float:
    """SacreBLEU's score of a corpus, 0–1, of Chinese characters, a reference each (torchmetrics)."""
    from torchmetrics.text import SacreBLEUScore

    return float(SacreBLEUScore(tokenize="zh")(list(captions), [[truth] for truth in truths]))


def captioning(captions: Sequence[str], truth: Sequence[Layout], vocabulary: Sequence[str]) -> dict[str, Share]:
    """Classes that captions name (`recall`, `precision`, `f1`, `extra`), and the relations that they state."""
    grammar, named, stated = Grammar(read_lexicon()), [], []
    for caption in captions:
        names = nouns_in(caption, vocabulary)
        found = grammar.stated(caption, names)
        named.append(set(names))
        stated.append([(names[a], relation, None if b is None else names[b]) for a, relation, b in found])
    known = [set(row.names) & set(vocabulary) for row in truth]
    return measures.classes(known, named) | {"relations": measures.relations_of(stated, truth)}


def caption_scores(talker: Talker, clip: ImageText, pictures: Pictures, vocabulary: Sequence[str]) -> dict[str, Any]:
    """Of GILL's captions; of the next picture's, of the true caption of the nearest picture, and of the true one."""
    own, true = talker.caption(pictures.paths), [row.caption for row in pictures.truth]
    seen = clip.pictures(pictures.paths)
    alike = seen @ seen.T
    np.fill_diagonal(alike, -np.inf)
    others = {
        "chance": [*own[1:], *own[:1]],
        "baseline": [true[i] for i in alike.argmax(1)],
        "ceiling": true,
    }
    found = measures.group(captioning(own, pictures.truth, vocabulary))
    found["metrics"]["bleu"] = round(bleu(own, true), 6)
    for name, captions in others.items():
        scores = captioning(captions, pictures.truth, vocabulary)
        found[name] = measures.group(scores)["metrics"] | {"bleu": round(bleu(captions, true), 6)}
    examples = [
        {"id": row.id, "caption": caption, "true": row.caption}
        for row, caption in zip(pictures.truth[:8], own[:8], strict=False)
    ]
    return found | {"examples": examples}


def retrieval(talker: Talker, clip: ImageText, pictures: Pictures, root: Path) -> dict[str, Any]:
    """R@k of the conversations' last pictures among each other: by the last 1 … n turns' text, and by all turns with
    their pictures; by the image-text model on the same texts (the `baseline` of each).
    """
    longest = max(len(row.turns) for row in pictures.rows)
    counts: dict[str, int | None] = {str(n): n for n in range(1, min(longest, LONGEST) + 1)}
    counts |= {"all": None, "pictures": None} if longest > 1 else {}
    own, theirs = talker.see(pictures.paths).numpy(), clip.pictures(pictures.paths)
    places, found = range(len(pictures.rows)), dict[str, Any]()
    for name, count in counts.items():
        turns = [context(row.turns, count) for row in pictures.rows]
        texts = [text_of(part) for part in turns]
        read = talker.read(turns, root, pictures=name == "pictures")
        scores = measures.recalls(measures.ranks(read.embeddings.numpy(), own, places), len(own))
        baseline = measures.recalls(measures.ranks(clip.texts(texts), theirs, places), len(theirs))
        scores["baseline"] = {key: baseline[key] for key in ("metrics", "intervals")}
        found[name] = scores | {"longer than the baseline reads": clip.too_long(texts), "cut turns": sum(read.cut)}
    return found


def pictures_scores(
    truth: Sequence[Layout], given: Sequence[Layout], found: Sequence[Detections], labels: dict[str, int]
) -> tuple[dict[str, Share], dict[str, Share], dict[str, float | None]]:
    """Scores of one way's pictures: by class, by place, and their chance levels. `given`: their rows of boxes."""
    wanted = [{labels[name] for name in row.names if name in labels} for row in truth]
    seen = [set(one.labels.tolist()) for one in found]
    asked = [boxes.requested_known(row, labels) for row in given]
    told = measures.told(truth, found, labels)
    places = {"success50": measures.success(asked, found), **told}
    chance = {
        "recall": measures.chance_recall(wanted, seen),
        "success50": measures.success(measures.shuffled(asked), found).value,
        "relations": measures.chance_relations(told["present"]),
    }
    return measures.classes(wanted, seen), places, chance


def drawn(
    folders: Sequence[Path], rows: Pictures, detector: Detector
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any], dict[str, str]]:
    """Generation, placement and their contrasts, by kind and way, of the folders of `gillnext respond`; and the hashes
    of the pictures. `UserError` where a folder is of other conversations.
    """
    labels, hashes = labels_of(detector), dict[str, str]()
    generation, placement, contrasts = dict[str, Any](), dict[str, Any](), dict[str, Any]()
    shares: dict[str, dict[str, dict[str, Share]]] = {}
    for folder in folders:
        if [row.id for row in layouts.read(folder / TRUTH)] != [row.id for row in rows.truth]:
            raise UserError("pictures of other conversations", where=str(folder), remedy="draw those that are scored")
        for name in (name for name in WAYS if (folder / name).is_dir()):
            samples = images.read(folder / name)
            hashes[f"pictures/{name}"] = files.sha256(samples.folder)
            found = confident(detected(samples, detector, rows.truth), detector)
            for kind in rows.kinds:
                own = [i for i, row in enumerate(rows.rows) if row.kind == kind]
                truth, given = ([part[i] for i in own] for part in (rows.truth, samples.layouts))
                seen = [found[i] for i in own]
                classes, places, chance = pictures_scores(truth, given, seen, labels)
                generation.setdefault(kind, {})[name] = measures.group(classes, chance={"recall": chance.pop("recall")})
                placement.setdefault(kind, {})[name] = measures.group(places, chance=chance)
                shares.setdefault(kind, {})[name] = classes | places
    for kind, by_way in shares.items():
        contrasts[kind] = {
            f"{a} − {b}": {key: by_way[a][key].minus(by_way[b][key]) for key in ("recall", "success50", "relations")}
            for a, b in CONTRASTS
            if a in by_way and b in by_way
        }
    return generation, placement, contrasts, hashes


def converse(
    cfg: Config, talker: Talker, clip: ImageText, detector: Detector, test: Path, gallery: Path,
    pictures: Sequence[Path], decision: Path | None,
) -> dict[str, Any]:  # fmt: skip
    """All scores, as the score file's content."""
    asked, shown = Pictures.read(test), Pictures.read(gallery)
    vocabulary = list(labels_of(detector))
    generation, placement, contrasts, hashes = drawn(pictures, asked, detector)
    by_kind = {kind: asked.of(kind) for kind in asked.kinds}
    report: dict[str, Any] = {
        "name": "converse",
        "n": len(asked.rows),
        "kinds": dict(Counter(row.kind for row in asked.rows)),
        "trained": talker.trained,
        "captioning": {
            "gallery": caption_scores(talker, clip, shown, vocabulary),
            "test": caption_scores(talker, clip, asked, vocabulary),
        },
        "retrieval": {
            "gallery": retrieval(talker, clip, shown, gallery.parent),
            **{kind: retrieval(talker, clip, part, test.parent) for kind, part in by_kind.items()},
        },
        "generation": generation,
        "placement": placement,
        "contrasts": contrasts,
        "protocol": {
            "evaluator": detector.description,
            "image_text": clip.description,
            "boxes": "against those given, else the true ones: best one-to-one IoU of a class, a success from 0.5",
            "relations": "told, and still true at the end; centres of the best detection of each class",
            "retrieval": "among the last pictures of the set; pictures that are as near stand before the right one",
            "intervals": "95%: Wilson's of R@k, else bootstrap over conversations; contrasts are paired",
            "bleu": "torchmetrics' SacreBLEUScore, Chinese characters",
        },
        "hashes": {
            "gill": talker.hash, "image_text": clip.hash, "test": files.sha256(test), "gallery": files.sha256(gallery),
            **hashes,
        },
        "provenance": provenance.stamp(),
    }  # fmt: skip
    if decision:
        report["decision"] = files.read_json(decision / "decision.json")["scores"]
    return report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    add_talker(parser)
    parser.add_argument("--test", type=Path, required=True, metavar="JSONL", help="test conversations")
    parser.add_argument("--gallery", type=Path, required=True, metavar="JSONL", help="captioned test pictures")
    parser.add_argument("--pictures", type=Path, nargs="+", default=[], metavar="DIR", help="of `gillnext respond`")
    add_judges(parser)
    parser.add_argument("--decision", type=Path, metavar="DIR", help="of `gillnext decide`")
    add_out(parser, "score file")


def add_judges(parser: argparse.ArgumentParser) -> None:
    """The options that name the evaluator and the image-text scorer."""
    parser.add_argument("--evaluator", type=Path, required=True, metavar="DIR", help="finds the objects in pictures")
    parser.add_argument("--names", type=Path, metavar="FILE", help="names, or their table, for an open evaluator")
    parser.add_argument("--clip", type=Path, required=True, metavar="DIR", help="Chinese-CLIP")


def main(args: argparse.Namespace) -> None:
    cfg = config(args)
    talker = open_talker(cfg, args)
    detector = evaluator(args.evaluator, cfg, args.names)
    report = converse(
        cfg, talker, ImageText(args.clip, cfg.run.device), detector, args.test, args.gallery, args.pictures,
        args.decision,
    )  # fmt: skip
    report["hashes"]["evaluator"] = weights(args.evaluator)
    files.write_json(args.out, report)
    for part in ("captioning", "retrieval", "generation", "placement"):
        for kind, scores in report[part].items():
            print(f"{part}, {kind}: {_line(scores)}")


def _line(scores: dict[str, Any]) -> str:
    """The numbers of a part on one line."""
    if "metrics" in scores:
        return ", ".join(f"{key} {value:.3f}" for key, value in scores["metrics"].items())
    return "; ".join(f"{name}: {_line(part)}" for name, part in scores.items())
